"""A block's attention with its projections as the pass has them, LoRA included, for methods that choose what looks at what.

h heads of d channels, D = h*d width; Q tokens of a video that look at K.
"""

from typing import Any

import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.attention import bias_of
from pipeline.clip.tower import BlockHooks

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


def look(block: Any, hooks: BlockHooks, own: Tensor, tokens: Tensor, visible: Tensor, *, keys: Tensor | None = None) -> Tensor:
    """Normalised tokens (B, Q, D) that look at others (B, K, D) as far as these are `visible` (B, K) -> the branch of attention (B, Q, D).

    Keys and values are not made: a query is taken back through the map of the keys, whose bias changes no softmax, and tokens are mixed
    before the map of the values. That is Q rows a head through each map instead of K. `keys` (B, h, K, d): those that have places, too.
    """
    (w_q, w_k, w_v), (b_q, _, b_v) = projections(block, hooks)
    heads, channels = w_q.shape[:2]
    query = (torch.einsum("bqD,hdD->bhqd", own, w_q) + b_q[:, None]) * channels**-0.5
    asked, answers = (torch.einsum("bhqd,hdD->bhqD", query, w_k).flatten(1, 2), tokens) if keys is None else (query, keys)
    scores = (asked @ answers.mT).view(len(own), -1, tokens.shape[1])
    weights = scores.masked_fill(~visible[:, None], float("-inf")).softmax(dim=-1)
    mixed = (weights.to(tokens.dtype) @ tokens).unflatten(1, (heads, -1))
    seen = (torch.einsum("bhqD,hdD->bqhd", mixed, w_v) + b_v).flatten(2)
    inner = block.attn.ln_inner(seen) if hasattr(block.attn, "ln_inner") else seen
    out: Tensor = block.ls_1(block.attn.out_proj(inner))
    return out


def refuse_other_reads(clip: FrozenClip, name: str) -> None:
    """ValueError for a tower that is not read at CLS, or whose attention knows where in the grid a patch stands."""
    if clip.vision.pooled or not clip.vision.cls:
        raise ValueError(
            f"{name}: {clip.name} reads a frame by attention over all its tokens, and not at CLS, which the method acts on; use a CLIP "
            "that is read at CLS"
        )
    if getattr(clip.model.visual, "rotary", None) is not None:
        raise ValueError(f"{name}: {clip.name} rotates keys by their place in the grid, which the method has none for; use a plain ViT")
