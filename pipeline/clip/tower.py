"""One encoder of CLIP, run block by block, with the places where a method may attach.

Shapes: B videos or captions, T frames, N = B*T, L tokens, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.clip.attention import WeightHook, heads, linear
from pipeline.clip.kept_once import LayerNorm, add_and_norm


@dataclass
class Flow:
    """One pass through a tower, as far as hooks may know it.

    `frame_mask` (B, T) is True for real frames, which come first (vision, and captions of frames). `read` (B,) is the token that is
    read out: 0 or the end of text. `attn_mask` is of the whole pass, as for `attend`; None is full attention. `num_frames` is T, 1 for
    text without that mask. `patches` of a frame are its last tokens; `rotary` are their positions in every attention (`blocks.turned`),
    None where a tower has none. Only hooks of pixels and of the embedding may change it: those of a block run twice under checkpointing.

    `memo` is what hooks leave to those after them. One of a block never writes over what it has read: its names have its layer in them.
    """

    num_frames: int
    read: Tensor
    frame_mask: Tensor | None = None
    attn_mask: Tensor | None = None
    patches: int = 0
    rotary: Tensor | None = None
    memo: dict[str, Tensor] = field(default_factory=dict)
    _lengths: Tensor | None = None

    def turn(self, rows: int) -> Tensor | None:
        """`rotary` of the last tokens of each of so many rows: of one frame, or of all frames of a video that are joined in a row."""
        joined = 1 if self.rotary is None else self.frames.numel() // rows
        return self.rotary if self.rotary is None or joined == 1 else self.rotary.repeat(joined, 1)

    @property
    def frames(self) -> Tensor:
        """The frame mask, which every pass through the vision tower has."""
        assert self.frame_mask is not None
        return self.frame_mask

    @property
    def lengths(self) -> Tensor:
        """How many real frames each video has (B,), on the CPU. A GPU is waited for, so it is asked once a pass and not once a layer."""
        if self._lengths is None:
            self._lengths = self.frames.sum(dim=1).cpu()
        return self._lengths

    @property
    def padded(self) -> bool:
        """Whether a frame is not real. Most batches have none: full attention needs no mask, and the fast kernels want none.

        A program that is compiled has to serve for any batch.
        """
        return torch.compiler.is_compiling() or bool((self.lengths < self.num_frames).any())


@dataclass(frozen=True)
class Site:
    """Where a branch (attention or MLP) sits: its input before and after the LayerNorm, each (N, L, D)."""

    stream: Tensor
    normed: Tensor
    flow: Flow


TokenHook = Callable[[Tensor, Flow], Tensor]
BranchHook = Callable[[Tensor, Site], Tensor]
MaskHook = Callable[[Tensor, Flow], Tensor | None]
SideHook = Callable[[Tensor, Sequence[Tensor], Flow], Tensor]


@dataclass
class BlockHooks:
    """`before` and `after` change the tokens around a block, `attention` and `mlp` a branch's output before it is added.

    `between` changes the tokens, and how many they are, once attention's output is added; its site is that of attention. `mask` makes the
    mask or the bias of this block's attention (`attend`) from its tokens. `weights` changes tensors of the attention and the MLP, by
    their names in the block, such as `attn.in_proj_weight`; for one that is `LowRank` the changed weight is never made.
    """

    before: list[TokenHook] = field(default_factory=list)
    attention: list[BranchHook] = field(default_factory=list)
    between: list[BranchHook] = field(default_factory=list)
    mlp: list[BranchHook] = field(default_factory=list)
    after: list[TokenHook] = field(default_factory=list)
    mask: MaskHook | None = None
    weights: dict[str, WeightHook] = field(default_factory=dict)


class Tower:
    """The residual blocks of one encoder.

    `embedding` hooks see the raw tokens: before ln_pre in the vision tower, before the positions are added in the text tower. `pixels`
    hooks see what these are made of: normalised pixels (N, 3, H, W), vision only.
    `side` changes the features (N, E) and sees the tokens (N, L, D) of the levels in `taps`, from the lowest up: 0 is what enters the
    first block, k what leaves the k-th. Where nothing below it is trained, no gradient goes through the blocks, and none of their
    activations is kept.
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
        self.pixels: list[TokenHook] = []
        self.embedding: list[TokenHook] = []
        self.hooks = [BlockHooks() for _ in self.blocks]
        self.taps: list[int] = []
        self.side: SideHook | None = None

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

    def run(self, tokens: Tensor, *, flow: Flow, start: int = 0, stop: int | None = None) -> tuple[Tensor, list[Tensor]]:
        """(N, L, D) -> (N, L', D) through the blocks from `start` up to `stop`, or the top, and the tokens of the `taps` on the way.

        The hooks decide L'.
        """
        tapped = [tokens] if start in self.taps else []
        for level, (block, hooks) in enumerate(zip(self.blocks[start:stop], self.hooks[start:stop], strict=True), start=start + 1):
            if self.checkpointing and torch.is_grad_enabled() and (tokens.requires_grad or _trained(block, hooks)):
                tokens = checkpoint(_block, block, hooks, tokens, flow, use_reentrant=False)
            else:
                tokens = _block(block, hooks, tokens, flow)
            if level in self.taps:
                tapped.append(tokens)
        return tokens, tapped


def _trained(block: Any, hooks: BlockHooks) -> bool:
    """Whether a gradient may begin in a block, which else keeps nothing, and needs no second pass."""
    return hooks != BlockHooks() or any(p.requires_grad for p in block.parameters())


def _block(block: Any, hooks: BlockHooks, tokens: Tensor, flow: Flow) -> Tensor:
    """One residual block with what is attached to it. The stream keeps its type, whatever the types of attached tensors are."""
    kind = tokens.dtype
    for hook in hooks.before:
        tokens = hook(tokens, flow).to(kind)
    mask = hooks.mask(tokens, flow) if hooks.mask else flow.attn_mask
    normed = block.ln_1(tokens)
    seen = heads(block, normed, mask, hooks.weights, flow.turn(len(tokens)))
    if _plain(block, hooks, seen):
        tokens, normed = add_and_norm(tokens, seen, block.attn.out_proj, block.ln_2)
    else:
        site = Site(stream=tokens, normed=normed, flow=flow)
        branch = block.ls_1(linear(block, "attn.out_proj.", seen, hooks.weights))
        for change in hooks.attention:
            branch = change(branch, site)
        tokens = tokens + branch.to(kind)
        for change in hooks.between:
            tokens = change(tokens, site).to(kind)
        normed = block.ln_2(tokens)
    inner = block.mlp.gelu(linear(block, "mlp.c_fc.", normed, hooks.weights))
    branch = block.ls_2(linear(block, "mlp.c_proj.", inner, hooks.weights))
    for change in hooks.mlp:
        branch = change(branch, Site(stream=tokens, normed=normed, flow=flow))
    tokens = tokens + branch.to(kind)
    for hook in hooks.after:
        tokens = hook(tokens, flow).to(kind)
    return tokens


def _plain(block: Any, hooks: BlockHooks, seen: Tensor) -> bool:
    """Whether what attention saw goes to the stream as in CLIP, through a frozen map in the type of the tokens."""
    weight = block.attn.out_proj.weight
    changed = hooks.attention or hooks.between or any(name.startswith("attn.out_proj.") for name in hooks.weights)
    return (
        not (changed or weight.requires_grad)
        and weight.dtype == seen.dtype
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ln_2, LayerNorm)
    )
