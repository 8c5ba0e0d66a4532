"""One encoder of CLIP, run block by block, with the places where a method may attach.

Nothing hooks the call of a block's attention itself, so both attention classes of open_clip work.
Shapes: B videos or captions, T frames, N = B*T, L tokens, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Flow:
    """What the hooks may know of, and change for, one pass through a tower.

    `frame_mask` (B, T) is True for real frames (vision). `read` (B,) is the token that is read out: 0 or the end of text.
    `attn_mask` (L, L) is added to the attention scores; None is full attention. `num_frames` is T, 1 for text.
    """

    num_frames: int
    read: Tensor
    frame_mask: Tensor | None = None
    attn_mask: Tensor | None = None


@dataclass(frozen=True)
class Site:
    """Where a branch (attention or MLP) sits: its input before and after the LayerNorm, each (N, L, D)."""

    stream: Tensor
    normed: Tensor
    flow: Flow


TokenHook = Callable[[Tensor, Flow], Tensor]
BranchHook = Callable[[Tensor, Site], Tensor]


@dataclass
class BlockHooks:
    """`before` and `after` change the tokens around a block, `attention` and `mlp` a branch's output before it is added."""

    before: list[TokenHook] = field(default_factory=list)
    attention: list[BranchHook] = field(default_factory=list)
    mlp: list[BranchHook] = field(default_factory=list)
    after: list[TokenHook] = field(default_factory=list)


class Tower:
    """The residual blocks of one encoder.

    `embedding` hooks see the raw tokens: before ln_pre in the vision tower, before the positions are added in the text tower.
    """

    def __init__(self, name: str, *, transformer: nn.Module, width: int) -> None:
        self.name = name
        self.width = width
        self.blocks: list[Any] = list(transformer.get_submodule("resblocks").children())
        self.clear()

    def clear(self) -> None:
        self.embedding: list[TokenHook] = []
        self.hooks = [BlockHooks() for _ in self.blocks]

    def run(self, tokens: Tensor, *, flow: Flow) -> Tensor:
        """(N, L, D) -> (N, L', D), where the hooks decide L'."""
        for block, hooks in zip(self.blocks, self.hooks, strict=True):
            for hook in hooks.before:
                tokens = hook(tokens, flow)
            normed = block.ln_1(tokens)
            branch = block.ls_1(block.attention(normed, attn_mask=flow.attn_mask))
            for change in hooks.attention:
                branch = change(branch, Site(stream=tokens, normed=normed, flow=flow))
            tokens = tokens + branch
            normed = block.ln_2(tokens)
            branch = block.ls_2(block.mlp(normed))
            for change in hooks.mlp:
                branch = change(branch, Site(stream=tokens, normed=normed, flow=flow))
            tokens = tokens + branch
            for hook in hooks.after:
                tokens = hook(tokens, flow)
        return tokens
