"""Everything that touches a video file: look at it, make it canonical, choose frames, read them, store them."""
