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
from pipeline.clip.tower import BlockHooks, BranchHook, Flow, Site, TokenHook, Tower
from pipeline.config.parse import choose
from pipeline.methods.parts.heads import look, projections
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
        hooks.attention.append(_over_video(block, hooks, size))
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


def _over_video(block: Any, hooks: BlockHooks, size: int) -> BranchHook:
    """The globals' part of attention's branch, the same in all frames of a video: they see each other and all tokens of real frames."""

    def change(branch: Tensor, site: Site) -> Tensor:
        flow, frames = site.flow, site.flow.num_frames
        video, visible = site.normed.unflatten(0, (-1, frames)), _visible(flow, site.normed.shape[1], size=size)
        keys = None
        if flow.rotary is not None:
            keys = _turned_keys(block, hooks, site.normed, flow.rotary).unflatten(0, (-1, frames)).transpose(1, 2).flatten(2, 3)
        seen = look(block, hooks, video[:, 0, :size], video.flatten(1, 2), visible, keys=keys).to(branch.dtype)
        return torch.cat([seen.repeat_interleave(frames, dim=0), branch[:, size:]], dim=1)

    return change


def _turned_keys(block: Any, hooks: BlockHooks, normed: Tensor, turn: Tensor) -> Tensor:
    """(N, L, D) -> keys (N, h, L, d), turned by their places in a frame."""
    (_, weight, _), (_, bias, _) = projections(block, hooks)
    return turned(F.linear(normed, weight.flatten(0, 1), bias.flatten()).unflatten(-1, bias.shape).transpose(1, 2), turn)


def _visible(flow: Flow, length: int, *, size: int) -> Tensor:
    """(B, T*L): tokens of real frames, of the globals only those of the first frame."""
    seen = flow.frames[:, :, None].repeat(1, 1, length)
    seen[:, 1:, :size] = False
    return seen.flatten(1)
