"""petl-vtr: a reproducible comparison of ways to adapt CLIP to video-text retrieval."""
