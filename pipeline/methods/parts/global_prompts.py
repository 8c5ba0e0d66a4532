"""Global prompts of a video, which see all its frames, and local ones of each frame: DGL's video tower.

B videos, T frames, L tokens of a frame's row, G global and n local prompts, D width. A row stays a frame: it carries its own copy of the
globals in front, so CLIP's attention over the row is that of the frame's tokens. Only the branch of the globals is made anew.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.blocks import turned
from pipeline.clip.tower import BranchHook, Flow, Site, TokenHook, Tower
from pipeline.config.parse import choose
from pipeline.methods.parts.prompts import drop, insert

READS = ("first", "globals", "frames", "both")
Local = Callable[[int, Flow], Tensor]  # (row of a layer, flow) -> local prompts (n, D), or (B*T, n, D)


def prompt_video(tower: Tower, prompts: nn.Parameter, local: Local, *, number: int, read: str, last_blocks: int | None) -> None:
    """Global prompts (G, D) enter the first of the last blocks and run to the top; each of these has `number` local prompts of its own.

    None of them is normalised by `ln_pre` or has a position. `read` is what is read of each frame: the first global prompt, all
    of them, the frame's own tokens as in CLIP, or both. A token at a time is read from their mean, a pool reads them all. ValueError
    for what this tower cannot read.
    """
    blocks = tower.last(last_blocks)
    size = len(prompts)
    readout = _readout(tower, read, size=size)
    blocks[0][2].before.append(lambda tokens, flow: insert(tokens, prompts, at=0))
    for row, (_, block, hooks) in enumerate(blocks, start=-len(blocks)):
        hooks.before.append(_put(local, row, at=size + tower.cls))
        hooks.attention.append(_over_video(block, size))
        hooks.after.append(lambda tokens, flow: drop(tokens, at=size + tower.cls, number=number))
    blocks[-1][2].after.append(readout)


def _put(local: Local, row: int, *, at: int) -> TokenHook:
    return lambda tokens, flow: insert(tokens, local(row, flow), at=at)


def _readout(tower: Tower, read: str, *, size: int) -> TokenHook:
    """Tokens (N, G + L, D) -> those that stand for the frame: one, or as many as a pool reads."""
    choose(read, READS, what="read")
    if tower.pooled and read in ("globals", "both"):
        raise ValueError(f"read is {read!r}, a mean of tokens, but attention over all tokens reads this tower; use first or frames")
    number = {"first": 1, "globals": size, "both": size + 1}.get(read)

    def readout(tokens: Tensor, flow: Flow) -> Tensor:
        return tokens[:, size:] if number is None else tokens[:, :number].mean(dim=1, keepdim=True)

    return readout


def _over_video(block: Any, size: int) -> BranchHook:
    """The globals' part of attention's branch, the same in all frames of a video."""

    def change(branch: Tensor, site: Site) -> Tensor:
        seen = look(block, site.normed, site.flow, size=size).to(branch.dtype)
        return torch.cat([seen.repeat_interleave(site.flow.num_frames, dim=0), branch[:, size:]], dim=1)

    return change


def look(block: Any, normed: Tensor, flow: Flow, *, size: int) -> Tensor:
    """What the first `size` tokens, the same in all frames of a video, see in each other and in all tokens of its real frames.

    Normalised tokens (B*T, L, D) -> the branch of attention (B, G, D), by the block's own maps. Keys and values are not made: a query is
    taken back through the map of the keys, and tokens are mixed before the map of the values. That is G rows a head through each map
    instead of T*L. Only rotary positions, which turn each key by its place, need the keys themselves; without, their bias changes nothing.
    """
    attn = block.attn
    heads, width, video = attn.num_heads, normed.shape[-1], normed.unflatten(0, (-1, flow.num_frames))
    tokens = video.flatten(1, 2)
    to_query, to_key, to_value = attn.in_proj_weight.unflatten(0, (3, width))
    own, other = _biases(attn.in_proj_bias, width)
    query = F.linear(video[:, 0, :size], to_query, own).unflatten(-1, (heads, -1)) * (width // heads) ** -0.5
    if flow.rotary is None:
        back = torch.einsum("bghd,hdw->bhgw", query, to_key.unflatten(0, (heads, -1)))
        scores = back.flatten(1, 2) @ tokens.mT
    else:
        keys = _keys(normed, to_key, attn.in_proj_bias, flow.rotary, heads=heads).unflatten(0, (-1, flow.num_frames))
        scores = torch.einsum("bghd,bthld->bhgtl", query, keys).flatten(3).flatten(1, 2)
    weights = scores.masked_fill(~_visible(flow, normed.shape[1], size=size)[:, None], float("-inf")).softmax(dim=-1)
    mixed = (weights.to(tokens.dtype) @ tokens).unflatten(1, (heads, size))
    seen = torch.einsum("bhgw,hdw->bghd", mixed, to_value.unflatten(0, (heads, -1))).flatten(2)
    seen = seen if other is None else seen + other
    inner = attn.ln_inner(seen) if hasattr(attn, "ln_inner") else seen
    out: Tensor = block.ls_1(attn.out_proj(inner))
    return out


def _biases(bias: Tensor | None, width: int) -> tuple[Tensor | None, Tensor | None]:
    """Those of queries and of values, which are the first and the last entries whether or not there are any for keys between."""
    return (None, None) if bias is None else (bias[:width], bias[-width:])


def _keys(normed: Tensor, to_key: Tensor, bias: Tensor | None, turn: Tensor, *, heads: int) -> Tensor:
    """(N, L, D) -> keys (N, heads, L, d), turned by their places."""
    width = normed.shape[-1]
    own = None if bias is None or len(bias) < 3 * width else bias[width : 2 * width]
    return turned(F.linear(normed, to_key, own).unflatten(-1, (heads, -1)).transpose(1, 2), turn)


def _visible(flow: Flow, length: int, *, size: int) -> Tensor:
    """(B, T*L): tokens of real frames, of the globals only those of the first frame."""
    seen = flow.frames[:, :, None].repeat(1, 1, length)
    seen[:, 1:, :size] = False
    return seen.flatten(1)
