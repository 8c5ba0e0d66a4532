"""One encoder of CLIP, run block by block, with the places where a method may attach.

Shapes: B videos or captions, T frames, N = B*T, L tokens, D width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.clip.blocks import turned
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
    """One residual block with what is attached to it. The stream keeps its type, whatever the types of attached tensors are."""
    kind = tokens.dtype
    for hook in hooks.before:
        tokens = hook(tokens, flow).to(kind)
    mask = hooks.mask(tokens, flow) if hooks.mask else flow.attn_mask
    normed = block.ln_1(tokens)
    seen = _heads(block, normed, mask, hooks.weights, flow.turn(len(tokens)))
    if _plain(block, hooks, seen):
        tokens, normed = add_and_norm(tokens, seen, block.attn.out_proj, block.ln_2)
    else:
        site = Site(stream=tokens, normed=normed, flow=flow)
        branch = block.ls_1(_linear(block, "attn.out_proj.", seen, hooks.weights))
        for change in hooks.attention:
            branch = change(branch, site)
        tokens = tokens + branch.to(kind)
        for change in hooks.between:
            tokens = change(tokens, site).to(kind)
        normed = block.ln_2(tokens)
    inner = block.mlp.gelu(_linear(block, "mlp.c_fc.", normed, hooks.weights))
    branch = block.ls_2(_linear(block, "mlp.c_proj.", inner, hooks.weights))
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


def attend(block: Any, x: Tensor, mask: Tensor | None, turn: Tensor | None = None) -> Tensor:
    """The attention of a block among its tokens x (N, L, D), the last of which have the rotary positions `turn`.

    `mask` is added to the scores, (L, L) of every row or (N, 1, L) of each row's keys, or says as booleans which tokens (N, L) any other
    may look at. No other shape is needed: scores of (N*heads, L, L) would be gigabytes a layer for a video of 64 frames.
    torch's MultiheadAttention computes the same, but lays tokens out anew before and after, which on a CPU makes products with frozen
    weights of few rows three times as slow; and it hides its products from `changes`.
    """
    return _linear(block, "attn.out_proj.", _heads(block, x, mask, {}, turn), {})


def _heads(block: Any, x: Tensor, mask: Tensor | None, changes: Mapping[str, WeightHook], turn: Tensor | None) -> Tensor:
    """What the heads of a block's attention see, side by side (N, L, D)."""
    joint = _linear(block, "attn.in_proj_", x, changes)
    q, k, v = joint.unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if turn is not None:
        q, k = turned(q, turn), turned(k, turn)
    if mask is not None:
        mask = mask[:, None, None] if mask.dtype == torch.bool else (mask[:, None] if mask.ndim == 3 else mask).to(q.dtype)
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    inner: Tensor = block.attn.ln_inner(seen) if hasattr(block.attn, "ln_inner") else seen
    return inner


def _linear(block: Any, name: str, x: Tensor, changes: Mapping[str, WeightHook]) -> Tensor:
    """Tokens (N, L, in) through a linear map of the block -> (N, L, out); `changes` are of its weight and its bias."""
    change, weight, bias = changes.get(f"{name}weight"), block.get_parameter(f"{name}weight"), bias_of(block, name)
    if f"{name}bias" in changes:
        bias = changes[f"{name}bias"](bias)
    if not isinstance(change, LowRank):
        return F.linear(x, weight if change is None else change(weight), bias)
    down, up = change.factors()
    out, low = F.linear(x, weight, bias), F.linear(x, down)
    # One product that adds, and no sum of two large tensors behind it.
    changed: Tensor = torch.addmm(out.flatten(0, 1), low.flatten(0, 1), up.T).unflatten(0, x.shape[:2])
    return changed


def bias_of(block: Any, name: str) -> Any:
    """The bias of a linear map (out,), None without one. Of queries and values alone, it is that of keys too, which is zero."""
    part, _, leaf = f"{name}bias".rpartition(".")
    bias = getattr(block.get_submodule(part), leaf)
    if part != "attn" or bias is None or len(bias) == len(block.attn.in_proj_weight):
        return bias
    width = len(bias) // 2
    return torch.cat([bias[:width], bias.new_zeros(width), bias[width:]])
