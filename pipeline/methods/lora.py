"""LoRA: low-rank changes of weights in every block of both towers, which fold away after training.

Paper: Hu et al. (arXiv:2106.09685), section 4.1; on the fused input projection of CLIP's attention as in TempMe (peers.md E 1): the
chosen ones of q, k, v share A and have their own rows of B. Differs from the paper: no scale by default, as in TempMe.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.low_rank import FUSED, WEIGHTS, change_weights


@dataclass(frozen=True)
class Lora:
    """`targets`: any of q, k, v, out (attention), fc, proj (MLP). The change is B A, times alpha / rank where `alpha` is given.

    `last_blocks`: only the weights of the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 8
    targets: list[str] = field(default_factory=lambda: ["q", "k", "v"])
    alpha: float | None = None
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2106.09685"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        for target in self.targets or [""]:
            choose(target, (*FUSED, *WEIGHTS), what="lora: a target")
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        wanted: dict[str, Any] = {"rank": self.rank, "targets": self.targets, "scale": scale, "last_blocks": self.last_blocks}
        return nn.ModuleDict({tower.name: change_weights(tower, **wanted) for tower in (clip.vision, clip.text)})


METHOD = Lora
