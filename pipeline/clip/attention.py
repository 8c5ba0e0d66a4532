"""The attention and the linear maps of a block, with changes of their weights for a pass.

Shapes: N rows, L tokens, D width, r rank.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.blocks import turned

WeightHook = Callable[[Tensor], Tensor]


class LowRank(nn.Module):
    """A weight hook that adds B A to a weight (out, in). `factors` are A (r, in) and B (out, r).

    A pass adds (x A^T) B^T to the output, which is the same: no gradient of the frozen weight is made, only those of the factors.
    """

    def factors(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, to be kept."""
        down, up = self.factors()
        return weight + up @ down


def attend(block: Any, x: Tensor, mask: Tensor | None, turn: Tensor | None = None) -> Tensor:
    """The attention of a block among its tokens x (N, L, D), the last of which have the rotary positions `turn`.

    `mask` is added to the scores, (L, L) of every row or (N, 1, L) of each row's keys, or says as booleans which tokens (N, L) any other
    may look at. No other shape is needed: scores of (N*heads, L, L) would be gigabytes a layer for a video of 64 frames.
    torch's MultiheadAttention computes the same, but lays tokens out anew before and after, which on a CPU makes products with frozen
    weights of few rows three times as slow; and it hides its products from `changes`.
    """
    return linear(block, "attn.out_proj.", heads(block, x, mask, {}, turn), {})


def heads(block: Any, x: Tensor, mask: Tensor | None, changes: Mapping[str, WeightHook], turn: Tensor | None) -> Tensor:
    """The outputs of the heads of a block's attention, side by side (N, L, D)."""
    joint = linear(block, "attn.in_proj_", x, changes)
    q, k, v = joint.unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if turn is not None:
        q, k = turned(q, turn), turned(k, turn)
    if mask is not None:
        mask = mask[:, None, None] if mask.dtype == torch.bool else (mask[:, None] if mask.ndim == 3 else mask).to(q.dtype)
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    inner: Tensor = block.attn.ln_inner(seen) if hasattr(block.attn, "ln_inner") else seen
    return inner


def linear(block: Any, name: str, x: Tensor, changes: Mapping[str, WeightHook]) -> Tensor:
    """Tokens (N, L, in) through a linear map of the block -> (N, L, out); `changes` are of its weight and its bias."""
    change, weight, bias = changes.get(f"{name}weight"), block.get_parameter(f"{name}weight"), bias_of(block, name)
    if f"{name}bias" in changes:
        bias = changes[f"{name}bias"](bias)
    if not isinstance(change, LowRank):
        return F.linear(x, weight if change is None else change(weight), bias)
    down, up = change.factors()
    rows = x.flatten(0, 1)
    out = F.linear(rows, weight, bias)
    # One product that adds to what is there: no copy of it, no sum behind it. Autocast leaves what works in place as it is.
    out.addmm_(F.linear(rows, down), up.T.to(out.dtype))
    changed: Tensor = out.unflatten(0, x.shape[:2])
    return changed


def bias_of(block: Any, name: str) -> Any:
    """The bias of a linear map (out,), None without one. Of queries and values alone, it is that of keys too, which is zero."""
    part, _, leaf = f"{name}bias".rpartition(".")
    bias = getattr(block.get_submodule(part), leaf)
    if part != "attn" or bias is None or len(bias) == len(block.attn.in_proj_weight):
        return bias
    width = len(bias) // 2
    return torch.cat([bias[:width], bias.new_zeros(width), bias[width:]])
