"""The seam to open_clip: two frozen towers, run block by block, and where a method may attach. No other room imports open_clip."""

from pipeline.clip.model import FrozenClip, build, count_tokens, load_backbone

__all__ = ["FrozenClip", "build", "count_tokens", "load_backbone"]
