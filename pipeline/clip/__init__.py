"""The seam to open_clip: two frozen towers, run block by block, and where a method may attach. No other room imports open_clip."""

from pipeline.clip.loading import build, configuration, load_backbone, seen_as, tokenizer_of
from pipeline.clip.model import OPENAI, FrozenClip

__all__ = ["OPENAI", "FrozenClip", "build", "configuration", "load_backbone", "seen_as", "tokenizer_of"]
