"""PiSSA: LoRA that starts at the principal part of each weight, and trains that part; it folds away after training.

Paper: Meng et al. (arXiv:2404.02948), equations 2 to 5: of the singular values S of W and their vectors U, V the largest r make
A0 = S^1/2 V^T and B0 = U S^1/2; A and B start there, W - B0 A0 stays frozen. Here W' = W + B A - B0 A0, which is the same. Differs from the
paper: a and b are trained and stored in A = A0 + a and B = B0 + b, both zero at the start. So it is CLIP bit for bit, since the change
is b A + B0 a, and weight decay draws to CLIP, where it would draw A and B to zero and so take the principal part away (the paper has
none). q, k and v are one weight and share A, as in `lora`. A0 and B0 are stored in the adapter: LAPACKs choose other signs.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import LowRank
from pipeline.methods import Shape
from pipeline.methods.parts.low_rank import change_towers, check, spread


@dataclass(frozen=True)
class Pissa:
    """`targets`: any of q, k, v, out (attention), fc, proj (MLP). `rank`: how many singular values are the principal part.

    `last_blocks`: only the weights of the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 8
    targets: list[str] = field(default_factory=lambda: ["q", "k", "v"])
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2404.02948"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        check("pissa", self.targets, rank=self.rank)
        return change_towers(clip, partial(Principal, rank=self.rank), targets=self.targets, last_blocks=self.last_blocks)


class Principal(LowRank):
    """B A - B0 A0 for the chosen parts of a weight, as b A + B0 a."""

    def __init__(self, weight: Tensor, chosen: list[bool], *, rank: int) -> None:
        super().__init__()
        self.chosen = chosen
        parts = weight.detach().chunk(len(chosen))
        down, up = principal(torch.cat([part for part, one in zip(parts, chosen, strict=True) if one]), rank)
        self.register_buffer("first_down", down)
        self.register_buffer("first_up", up)
        self.first_down: Tensor
        self.first_up: Tensor
        self.down, self.up = nn.Parameter(torch.zeros_like(down)), nn.Parameter(torch.zeros_like(up))

    def factors(self) -> tuple[Tensor, Tensor]:
        down = torch.cat([self.first_down + self.down, self.down])
        return down, spread(torch.cat([self.up, self.first_up], dim=1), self.chosen)


@torch.no_grad()
def principal(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A0 (r, I) and B0 (O, r) of a weight (O, I). ValueError for more singular values than it has."""
    most = min(weight.shape)
    if rank > most:
        raise ValueError(f"pissa: rank is {rank}, but a weight of {len(weight)} x {weight.shape[1]} has {most} singular values")
    if len(weight) < weight.shape[1]:
        down, up = principal(weight.mT, rank)
        return up.mT.contiguous(), down.mT.contiguous()
    # The squares of S and V alone, from the smaller side: a third of the time of the whole decomposition.
    squares, vectors = torch.linalg.eigh(weight.mT @ weight)
    root = squares[-rank:].flip(0).clamp_min(0).sqrt().sqrt()
    across = vectors[:, -rank:].flip(1)
    up = torch.where(root > 0, weight @ across / root, 0)
    return (root * across).mT.contiguous(), up


METHOD = Pissa
