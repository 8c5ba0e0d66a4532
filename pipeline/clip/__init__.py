"""The seam to open_clip: two frozen towers, run block by block, and where a method may attach. No other room imports open_clip."""

from pipeline.clip.loading import build, configuration, count_tokens, load_backbone
from pipeline.clip.model import OPENAI, FrozenClip

__all__ = ["OPENAI", "FrozenClip", "build", "configuration", "count_tokens", "load_backbone"]
