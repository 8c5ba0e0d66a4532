"""TempMe: LoRA in both towers, and a vision tower whose sequence becomes shorter: patches merge, and so do neighbouring clips.

Paper: Shen et al., TempMe, ICLR 2025 (arXiv:2409.01156); specification: tempme_discovla.md 1 to 3. Differs from the paper's code: a padded
frame's tokens have size 0, so that nobody looks at them; the positions of clips are added at every join, also where nothing is merged;
in a frame never more merge than it has sources; among equals the first goes; and there are defaults for any number of frames and blocks.
With still pictures rounding decides what merges, as all frames are then equal. Shapes: B videos, T frames, R rows of S tokens, D width.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import BlockHooks, BranchHook, Flow, MaskHook, Site, TokenHook
from pipeline.methods import Shape
from pipeline.methods.parts.heads import projections, refuse_other_reads
from pipeline.methods.parts.joined import in_one_row
from pipeline.methods.parts.low_rank import Change, change_towers
from pipeline.methods.parts.merging import merge, possible


@dataclass(frozen=True)
class TempMe:
    """`rank` of LoRA. `image_merge`: patches of a frame that merge in each layer before the first join.

    - `joins`: layers of vision at whose entry neighbouring clips become one; at first each frame is a clip. `factors`: how many become one.
      None as factors: the prime factors of T in rising order, the two smallest multiplied while there are more than three; [] joins none.
      None as joins: the layers right before the last one.
    - `cross_percent`: of the tokens of a joined row that merge before its attention. `intra_percent`: of those behind it, from there on.
    - `positions`: a learned vector for each clip that is joined, zero at first. `size_bias`: attention counts a token as often as it has
      patches.
    - `last_blocks`: only the last so many blocks of each tower are changed, and the joins are among them; None is all.
    """

    rank: int = 8
    image_merge: int = 2
    joins: list[int] | None = None
    factors: list[int] | None = None
    cross_percent: int = 30
    intra_percent: int = 10
    positions: bool = True
    size_bias: bool = True
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2409.01156"

    @property
    def identity_at_init(self) -> bool:
        return self.factors == [] and not self.image_merge

    @property
    def sees_time(self) -> bool:
        return self.factors != [] and bool(self.positions or self.cross_percent or self.intra_percent)

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        modules = change_towers(clip, partial(Change, rank=self.rank), last_blocks=self.last_blocks)
        self._check()
        joins = self._joins(clip, shape.num_frames)
        if not (joins or self.image_merge):
            return modules
        refuse_other_reads(clip, "tempme")
        cls, clips, tables = 1, shape.num_frames, nn.ParameterList()
        for layer, block, hooks in clip.vision.last(self.last_blocks):
            if factor := joins.get(layer):
                table = nn.Parameter(torch.zeros(clips, clip.vision.width)) if self.positions else None
                tables.extend([] if table is None else [table])
                hooks.before.append(self._join(layer, factor, cls, clips, table))
                cls, clips = cls * factor, clips // factor
            hooks.mask = self._count(layer)
            hooks.between.append(self._shorten(layer, block, hooks, cls, joined=clips < shape.num_frames))
        if joins:
            clip.vision.hooks[-1].after.append(_apart(cls))
            modules["positions"] = tables
        return modules

    def _check(self) -> None:
        """ValueError for settings that no CLIP can have."""
        for name, value in (("cross_percent", self.cross_percent), ("intra_percent", self.intra_percent)):
            if not 0 <= value <= 100:
                raise ValueError(f"tempme: {name} is {value}; give a share from 0 to 100")
        if self.image_merge < 0:
            raise ValueError(f"tempme: image_merge is {self.image_merge}; the least is 0")
        if any(factor < 2 for factor in self.factors or ()):
            raise ValueError(f"tempme: factors are {_listed(self.factors)}; each is 2 or more, as it is how many clips become one")

    def _joins(self, clip: FrozenClip, frames: int) -> dict[int, int]:
        """The factor of each layer that joins clips. ValueError for joins that these frames or this CLIP cannot have."""
        layers, factors = clip.vision.top, _factors(frames) if self.factors is None else self.factors
        if frames % math.prod(factors):
            raise ValueError(
                f"tempme: factors {_listed(factors)} do not divide {frames} frames; give factors whose product divides "
                "dataset.frames.number, or none"
            )
        if self.joins is None and layers <= len(factors):
            raise ValueError(
                f"tempme: {len(factors)} joins need {len(factors) + 1} blocks, but {clip.name} has {layers}; give fewer factors"
            )
        joins = list(range(layers - 1 - len(factors), layers - 1)) if self.joins is None else self.joins
        first = clip.vision.last(self.last_blocks)[0][0]
        rising = all(one < other for one, other in pairwise([-1, *joins, layers]))
        if len(joins) != len(factors) or not rising:
            raise ValueError(
                f"tempme: joins are {_listed(joins)} and factors {_listed(factors)}; give a layer for each, rising, from 0 to {layers - 1}"
            )
        if joins and joins[0] < first:
            raise ValueError(
                f"tempme: joins are {_listed(joins)}, but last_blocks {self.last_blocks} begin with layer {first}; raise it, or join later"
            )
        return dict(zip(joins, factors, strict=True))

    def _join(self, layer: int, factor: int, cls: int, clips: int, table: Tensor | None) -> TokenHook:
        """Rows of `factor` clips in the place of single ones, with the positions of the old clips, shortened before their attention."""

        def change(tokens: Tensor, flow: Flow) -> Tensor:
            sizes = _sizes(tokens, flow, f"sizes {layer}")
            if clips == flow.num_frames:  # until here a padded frame has been a row of its own
                sizes = sizes * flow.frames.flatten()[:, None]
            by_video = tokens.unflatten(0, (-1, clips))
            placed = by_video if table is None else by_video + table[:, None].to(tokens.dtype)
            parts = (placed, by_video.detach(), sizes.unflatten(0, (-1, clips)))
            joined, metric, sizes = (in_one_row(part.flatten(0, 1).unflatten(0, (-1, factor)), cls=cls) for part in parts)
            number = possible(joined.shape[1], cls=cls * factor, wanted=joined.shape[1] * self.cross_percent // 100)
            joined, flow.memo[f"joined sizes {layer}"] = merge(joined, sizes, metric, cls=cls * factor, number=number)
            return joined

        return change

    def _count(self, layer: int) -> MaskHook:
        """A bias for each key: the logarithm of its size, and nobody looks at padding."""

        def mask(tokens: Tensor, flow: Flow) -> Tensor | None:
            sizes = flow.memo.get(f"joined sizes {layer}", flow.memo.get(f"sizes {layer}"))
            if sizes is None or not (self.size_bias or flow.padded):
                return None
            bias = (sizes if self.size_bias else sizes.clamp(max=1)).log()
            # A row of padding alone is never read, and must not be a softmax of nothing.
            return bias.masked_fill((sizes == 0).all(dim=1, keepdim=True), 0)[:, None]

        return mask

    def _shorten(self, layer: int, block: Any, hooks: BlockHooks, cls: int, *, joined: bool) -> BranchHook:
        """Merges what has keys alike, between attention and the MLP."""

        def change(tokens: Tensor, site: Site) -> Tensor:
            length, sizes = tokens.shape[1], _sizes(tokens, site.flow, f"joined sizes {layer}", f"sizes {layer}")
            number = possible(length, cls=cls, wanted=length * self.intra_percent // 100 if joined else self.image_merge)
            metric = _mean_keys(block, hooks, site.normed) if number else tokens
            tokens, site.flow.memo[f"sizes {layer + 1}"] = merge(tokens, sizes, metric, cls=cls, number=number)
            return tokens

        return change


def _factors(frames: int) -> list[int]:
    """At most three factors whose product is the number of frames."""
    found, rest = list[int](), frames
    while rest > 1:
        found.append(next(number for number in range(2, rest + 1) if rest % number == 0))
        rest //= found[-1]
    while len(found) > 3:
        found = sorted([found[0] * found[1], *found[2:]])
    return found


def _listed(numbers: list[int] | None) -> str:
    return ", ".join(map(str, numbers or [])) or "none"


def _sizes(tokens: Tensor, flow: Flow, *names: str) -> Tensor:
    """The first of these that the pass has noted; where nothing has merged yet, a token stands for one patch."""
    noted = [flow.memo[name] for name in names if name in flow.memo]
    return noted[0] if noted else torch.ones(tokens.shape[:2], device=tokens.device)


@torch.no_grad()
def _mean_keys(block: Any, hooks: BlockHooks, normed: Tensor) -> Tensor:
    """The mean over the heads of the keys of normalised tokens (R, S, D) -> (R, S, d): linear, so it is one product with the mean map."""
    weight, bias = (part[1].mean(dim=0) for part in projections(block, hooks))
    return F.linear(normed, weight.to(normed.dtype), bias.to(normed.dtype))


def _apart(cls: int) -> TokenHook:
    """The class tokens of joined rows (R, S, D) as frames of one token (B*T, 1, D)."""
    return lambda tokens, flow: tokens[:, :cls].flatten(0, 1)[:, None]


METHOD = TempMe
