"""DoRA: LoRA changes the direction of each row of a weight, a gain of its own its length; both fold away after training.

Paper: Liu et al. (arXiv:2402.09353), equation 5, and section 4.3 for the backward pass, in which the length of the changed row is a
constant. Differs from the paper: the length is trained as a gain g, zero at the start, in m = (1 + g) n(W), so that the start is CLIP bit
for bit and weight decay draws to CLIP; lengths are those of rows, one for each output, as in its code; q, k and v share A, and there is
no scale by default, as in `lora`. W, V (O, I), n(V) (O) the L2 norm of each row, r rank.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape
from pipeline.methods.parts.low_rank import Change, change_towers, check, rows_of, spread


@dataclass(frozen=True)
class Dora:
    """`targets`: any of q, k, v, out (attention), fc, proj (MLP). B A is taken times alpha / rank where `alpha` is given.

    `last_blocks`: only the weights of the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 8
    targets: list[str] = field(default_factory=lambda: ["q", "k", "v"])
    alpha: float | None = None
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2402.09353"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        check("dora", self.targets, rank=self.rank)
        change = partial(Directed, rank=self.rank, scale=1.0 if self.alpha is None else self.alpha / self.rank)
        return change_towers(clip, change, targets=self.targets, last_blocks=self.last_blocks)


class Directed(nn.Module):
    """W' = (1 + g) n(W) V / n(V) of V = W + scale * B A, for the chosen parts of a weight; the others stay."""

    def __init__(self, weight: Tensor, chosen: list[bool], *, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.chosen = chosen
        self.change = Change(weight, chosen, rank=rank, scale=scale)
        self.gain = nn.Parameter(torch.zeros(rows_of(weight, chosen)))

    def forward(self, weight: Tensor) -> Tensor:
        # A length in half precision would not be that of the same row a little changed.
        with torch.autocast(weight.device.type, enabled=False):
            weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
            changed: Tensor = self.change(weight)
            # One quotient of two equal sums is 1 to the bit, and of a row of zeros it is 1 too.
            kept = lengths(weight) / lengths(changed.detach())
            return changed * ((1 + spread(self.gain, self.chosen)) * kept)[:, None]


def lengths(weight: Tensor) -> Tensor:
    """The L2 norm of each row (O), above zero."""
    found: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return found.clamp_min(torch.finfo(weight.dtype).tiny)


METHOD = Dora
