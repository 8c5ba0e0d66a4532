"""One encoder of CLIP, run block by block, with the places where a method may attach.

Nothing hooks the call of a block's attention itself, so both attention classes of open_clip work.
Shapes: B videos or captions, T frames, N = B*T, L tokens, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from pipeline.clip.blocks import Block


@dataclass
class Flow:
    """One pass through a tower, as far as hooks may know it.

    `frame_mask` (B, T) is True for real frames, which come first (vision). `read` (B,) is the token that is read out: 0 or the
    end of text. `attn_mask` is of the whole pass, as for `attend`; None is full attention. `num_frames` is T, 1 for text. `patches` of a
    frame are its last tokens; `rotary` are their positions in every attention (`blocks.turned`), None where a tower has none. Only hooks
    of the embedding may change it: those of a block run twice under activation checkpointing.
    """

    num_frames: int
    read: Tensor
    frame_mask: Tensor | None = None
    attn_mask: Tensor | None = None
    patches: int = 0
    rotary: Tensor | None = None

    def turn(self, rows: int) -> Tensor | None:
        """`rotary` of the last tokens of each of so many rows: of one frame, or of all frames of a video that are joined in a row."""
        joined = 1 if self.rotary is None else self.frames.numel() // rows
        return self.rotary if self.rotary is None or joined == 1 else self.rotary.repeat(joined, 1)

    @property
    def frames(self) -> Tensor:
        """The frame mask, which every pass through the vision tower has."""
        assert self.frame_mask is not None
        return self.frame_mask

    @cached_property
    def lengths(self) -> Tensor:
        """How many real frames each video has (B,), on the CPU. A GPU is waited for, so it is asked once a pass and not once a layer."""
        return self.frames.sum(dim=1).cpu()

    @property
    def padded(self) -> bool:
        """Whether a frame is not real. Most batches have none: full attention needs no mask, and the fast kernels want none."""
        return bool((self.lengths < self.num_frames).any())


@dataclass(frozen=True)
class Site:
    """Where a branch (attention or MLP) sits: its input before and after the LayerNorm, each (N, L, D)."""

    stream: Tensor
    normed: Tensor
    flow: Flow


TokenHook = Callable[[Tensor, Flow], Tensor]
BranchHook = Callable[[Tensor, Site], Tensor]
MaskHook = Callable[[Tensor, Flow], Tensor | None]
WeightHook = Callable[[Tensor], Tensor]


@dataclass
class BlockHooks:
    """`before` and `after` change the tokens around a block, `attention` and `mlp` a branch's output before it is added.

    `mask` makes the attention mask of this block (`attend`) from its tokens. `weights` changes tensors of the block's attention and MLP, by
    their names in the block, such as `attn.in_proj_weight`.
    """

    before: list[TokenHook] = field(default_factory=list)
    attention: list[BranchHook] = field(default_factory=list)
    mlp: list[BranchHook] = field(default_factory=list)
    after: list[TokenHook] = field(default_factory=list)
    mask: MaskHook | None = None
    weights: dict[str, WeightHook] = field(default_factory=dict)


class Tower:
    """The residual blocks of one encoder.

    `embedding` hooks see the raw tokens: before ln_pre in the vision tower, before the positions are added in the text tower.
    `checkpointing` computes each block again in the backward pass instead of keeping what it computed.

    - `cls`: tokens before the patches, 1 or 0. `pooled`: attention over all tokens reads the tower at its end, and not CLS.
    - `whole_rows`: what follows a caption is read too, so that all captions have the context's length.
    """

    def __init__(
        self, name: str, *, transformer: nn.Module, width: int, cls: int = 1, pooled: bool = False, whole_rows: bool = False
    ) -> None:
        self.name = name
        self.width = width
        self.cls, self.pooled, self.whole_rows = cls, pooled, whole_rows
        self.blocks: list[Any] = list(transformer.get_submodule("resblocks").children())
        self.checkpointing = False
        self.clear()

    def clear(self) -> None:
        self.embedding: list[TokenHook] = []
        self.hooks = [BlockHooks() for _ in self.blocks]

    @property
    def top(self) -> int:
        """The number of blocks, which is the level of what comes out of the last one."""
        return len(self.blocks)

    def last(self, number: int | None) -> list[tuple[int, Any, BlockHooks]]:
        """(layer, block, hooks) of the last `number` blocks, which a method is attached to, or of all. ValueError if there are fewer."""
        depth = len(self.blocks)
        if number is not None and not 1 <= number <= depth:
            raise ValueError(f"last_blocks is {number}; the {self.name} tower has {depth} blocks; give 1 to {depth}, or none for all")
        first = 0 if number is None else depth - number
        return list(zip(range(first, depth), self.blocks[first:], self.hooks[first:], strict=True))

    def run(self, tokens: Tensor, *, flow: Flow, start: int = 0, stop: int | None = None) -> Tensor:
        """(N, L, D) -> (N, L', D) through the blocks from `start` up to `stop`, or the top; the hooks decide L'."""
        for block, hooks in zip(self.blocks[start:stop], self.hooks[start:stop], strict=True):
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(_block, block, hooks, tokens, flow, use_reentrant=False)
            else:
                tokens = _block(block, hooks, tokens, flow)
        return tokens


def _block(block: Any, hooks: BlockHooks, tokens: Tensor, flow: Flow) -> Tensor:
    """One residual block with what is attached to it."""
    for hook in hooks.before:
        tokens = hook(tokens, flow)
    mask = hooks.mask(tokens, flow) if hooks.mask else flow.attn_mask
    normed = block.ln_1(tokens)
    branch = block.ls_1(_part(block, hooks, "attention", normed, mask, flow.turn(len(tokens))))
    for change in hooks.attention:
        branch = change(branch, Site(stream=tokens, normed=normed, flow=flow))
    tokens = tokens + branch
    normed = block.ln_2(tokens)
    branch = block.ls_2(_part(block, hooks, "mlp", normed))
    for change in hooks.mlp:
        branch = change(branch, Site(stream=tokens, normed=normed, flow=flow))
    tokens = tokens + branch
    for hook in hooks.after:
        tokens = hook(tokens, flow)
    return tokens


def attend(block: Any, x: Tensor, mask: Tensor | None, turn: Tensor | None = None) -> Tensor:
    """The attention of a block among its tokens x (N, L, D), the last of which have the rotary positions `turn`.

    `mask` is added to the scores, (L, L), or says as booleans which tokens (N, L) any other may look at. That is the smallest shape
    which says it: scores of (N*heads, L, L) would be written out, for a video of 64 frames gigabytes a layer.
    """
    if isinstance(block, Block):
        own: Tensor = block.attn(x, mask=mask, turn=turn)
        return own
    if mask is None or mask.dtype != torch.bool:
        seen: Tensor = block.attention(x, attn_mask=mask)
        return seen
    some: Tensor = block.attn(x, x, x, need_weights=False, key_padding_mask=~mask)[0]
    return some


class _Part(nn.Module):
    """A block's attention or MLP as a module that `functional_call` can run with other weights."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, name: str, x: Tensor, mask: Tensor | None, turn: Tensor | None) -> Tensor:
        return _run(self.block, name, x, mask, turn)


def _run(block: Any, name: str, x: Tensor, mask: Tensor | None, turn: Tensor | None) -> Tensor:
    out: Tensor = attend(block, x, mask, turn) if name == "attention" else block.mlp(x)
    return out


def _part(block: Any, hooks: BlockHooks, name: str, x: Tensor, mask: Tensor | None = None, turn: Tensor | None = None) -> Tensor:
    prefix = "attn." if name == "attention" else "mlp."
    changed = {f"block.{key}": hook(block.get_parameter(key)) for key, hook in hooks.weights.items() if key.startswith(prefix)}
    if not changed:
        return _run(block, name, x, mask, turn)
    replaced: Tensor = functional_call(_Part(block), changed, (name, x, mask, turn))
    return replaced
