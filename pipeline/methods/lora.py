"""LoRA: low-rank changes of weights in every block of both towers, which fold away after training.

Paper: Hu et al. (arXiv:2106.09685), section 4.1; on the fused input projection of CLIP's attention as in TempMe (peers.md E 1): the
chosen ones of q, k, v share A and have their own rows of B. Differs from the paper: no scale by default, as in TempMe. `shared: false` is
the paper's, and CLIP-LoRA's (Zanella and Ben Ayed, arXiv:2405.18541), whose dropout on the input of A no change of a weight can have;
`rslora` is the scale of Kalajdzievski (arXiv:2312.03732), equation 8.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape
from pipeline.methods.parts.low_rank import Change, change_towers, check


@dataclass(frozen=True)
class Lora:
    """`targets`: any of q, k, v, out (attention), fc, proj (MLP). The change is B A, times alpha / rank where `alpha` is given.

    `shared`: q, k and v share A, or each has an A of its own. `rslora`: the scale is alpha / sqrt(rank).
    `last_blocks`: only the weights of the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 8
    targets: list[str] = field(default_factory=lambda: ["q", "k", "v"])
    alpha: float | None = None
    shared: bool = True
    rslora: bool = False
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2106.09685"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        check("lora", self.targets, rank=self.rank)
        change = partial(Change, rank=self.rank, scale=self._scale(), shared=self.shared)
        return change_towers(clip, change, targets=self.targets, last_blocks=self.last_blocks)

    def _scale(self) -> float:
        if self.alpha is None:
            if self.rslora:
                raise ValueError(
                    "lora: rslora divides alpha by the root of the rank, and there is no alpha; set alpha, or leave rslora out"
                )
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


METHOD = Lora
