"""LoRA: low-rank changes of weights in every block of both towers, which fold away after training.

Paper: Hu et al. (arXiv:2106.09685), section 4.1; on the fused input projection of CLIP's attention as in TempMe (peers.md E 1): the
chosen ones of q, k, v share A and have their own rows of B. Differs from the paper: no scale by default, as in TempMe.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import LowRank
from pipeline.config.parse import choose
from pipeline.methods import Shape

FUSED = ("q", "k", "v")
WEIGHTS = {"out": "attn.out_proj.weight", "fc": "mlp.c_fc.weight", "proj": "mlp.c_proj.weight"}


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
        modules = nn.ModuleDict()
        for tower in (clip.vision, clip.text):
            layers = nn.ModuleDict()
            for layer, block, hooks in tower.last(self.last_blocks):
                changes = nn.ModuleDict()
                fused = [name in self.targets for name in FUSED]
                if any(fused):
                    changes["qkv"] = hooks.weights["attn.in_proj_weight"] = Change(tower.width, fused, tower.width, self.rank, scale)
                for target in (name for name in WEIGHTS if name in self.targets):
                    weight = block.get_parameter(WEIGHTS[target])
                    changes[target] = hooks.weights[WEIGHTS[target]] = Change(len(weight), [True], weight.shape[1], self.rank, scale)
                layers[str(layer)] = changes
            modules[tower.name] = layers
        return modules


class Change(LowRank):
    """scale * B A for the chosen parts of the rows of a weight (parts*out, in); nothing at the start, because B is zero."""

    def __init__(self, out: int, chosen: list[bool], width: int, rank: int, scale: float) -> None:
        super().__init__()
        self.chosen, self.scale = chosen, scale
        self.down = nn.Parameter(torch.empty(rank, width))
        self.up = nn.Parameter(torch.zeros(sum(chosen) * out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def factors(self) -> tuple[Tensor, Tensor]:
        up = self.scale * self.up
        if all(self.chosen):
            return self.down, up
        rows = iter(up.chunk(sum(self.chosen)))
        nothing = torch.zeros_like(up[: len(up) // sum(self.chosen)])
        return self.down, torch.cat([next(rows) if chosen else nothing for chosen in self.chosen])


METHOD = Lora
