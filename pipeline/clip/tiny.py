"""The vision towers of clip-tiny's sisters for timm's registry: two of its architectures at a size that a CPU trains in minutes."""

from pathlib import Path
from typing import Any

import timm
from timm.models import register_model
from torch import nn

CONFIGURATIONS = Path(__file__).parent  # clip-tiny.json and its sisters', which open_clip reads
SIZE: dict[str, Any] = {"img_size": 64, "patch_size": 16, "embed_dim": 128, "depth": 4, "num_heads": 4}


@register_model
def clip_tiny_siglip(**options: Any) -> nn.Module:
    """No CLS token, read by attention."""
    return timm.create_model("vit_base_patch16_siglip_224", **SIZE, **options)


@register_model
def clip_tiny_pe(**options: Any) -> nn.Module:
    """CLS, rotary positions of the patches, read by attention over both."""
    return timm.create_model("vit_pe_core_base_patch16_224", **SIZE, ref_feat_shape=(4, 4), **options)
