"""The projections of a block's attention as its pass has them, LoRA included, for methods that look at queries, keys and values themselves.

h heads of d channels, D = h*d width.
"""

from typing import Any

from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.tower import BlockHooks, bias_of

FUSED = "attn.in_proj_"


def projections(block: Any, hooks: BlockHooks) -> tuple[Tensor, Tensor]:
    """The weights (3, h, d, D) and biases (3, h, d) of queries, keys and values. To be asked in the pass: weights are folded later."""
    weight, bias = block.attn.in_proj_weight, bias_of(block, FUSED)
    if change := hooks.weights.get(f"{FUSED}weight"):
        weight = change(weight)
    if bias is None:
        bias = weight.new_zeros(len(weight))
    heads = (3, block.attn.num_heads, -1)
    return weight.unflatten(0, heads), bias.unflatten(0, heads)


def refuse_other_reads(clip: FrozenClip, name: str) -> None:
    """ValueError for a tower that is not read at CLS, or whose attention knows where in the grid a patch stands."""
    if clip.vision.pooled or not clip.vision.cls:
        raise ValueError(
            f"{name}: {clip.name} reads a frame by attention over all its tokens, and not at CLS, which the method acts on; use a CLIP "
            "that is read at CLS"
        )
    if getattr(clip.model.visual, "rotary", None) is not None:
        raise ValueError(f"{name}: {clip.name} rotates keys by their place in the grid, which the method has none for; use a plain ViT")
