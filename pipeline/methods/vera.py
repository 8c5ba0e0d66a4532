"""VeRA: all weights of a tower share two random frozen matrices, and train how much of each of their rows they take; they fold away.

Paper: Kopiczko et al. (arXiv:2310.11454), section 3.1: W' = W + diag(b) B diag(d) A. Differs from the paper: matrices of several
sizes are the beginnings of one, as in peft; the chosen ones of q, k, v share d. A and B are drawn from `seed` and never stored: the
header of an adapter has the seed and their SHA-256, and others are refused. W (O, I), A (r, I), B (O, r), d (r), b (O).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import LowRank
from pipeline.clip.tower import Tower
from pipeline.methods import Shape
from pipeline.methods.parts.generated import Generated
from pipeline.methods.parts.low_rank import change_weights, check, places, rows_of, spread


@dataclass(frozen=True)
class Vera:
    """`targets`: any of q, k, v, out (attention), fc, proj (MLP). `scale`: what d starts at. `seed`: of the frozen matrices.

    `last_blocks`: only the weights of the last so many blocks of each tower are changed; None is all.
    """

    rank: int = 256
    targets: list[str] = field(default_factory=lambda: ["q", "k", "v"])
    scale: float = 0.1
    seed: int = 0
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2310.11454"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        check("vera", self.targets, rank=self.rank)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"vera: seed is {self.seed}; give a whole number from 0 to 2^63 - 1")
        towers = clip.vision, clip.text
        generated = Generated({tower.name: self._size(tower) for tower in towers}, rank=self.rank, seed=self.seed)
        modules = nn.ModuleDict({"generated": generated})
        for tower in towers:
            change = partial(Scaled, generated=generated, tower=tower.name, scale=self.scale)
            modules[tower.name] = change_weights(tower, change, targets=self.targets, last_blocks=self.last_blocks)
        return modules

    def _size(self, tower: Tower) -> tuple[int, int]:
        """The most rows and columns that a changed weight of a tower has."""
        weights = [tower.blocks[0].get_parameter(name) for name, _ in places(self.targets).values()]
        return max(len(weight) for weight in weights), max(weight.shape[1] for weight in weights)


class Scaled(LowRank):
    """diag(b) B diag(d) A for the chosen parts of a weight; nothing at the start, because b is zero."""

    def __init__(self, weight: Tensor, chosen: list[bool], *, generated: Generated, tower: str, scale: float) -> None:
        super().__init__()
        self.chosen, self.width = chosen, weight.shape[1]
        self.matrices = (generated, tower)  # in a tuple, or all changes would own them
        self.inner = nn.Parameter(torch.full((len(generated.of(tower)[0]),), scale))
        self.outer = nn.Parameter(torch.zeros(rows_of(weight, chosen)))

    def factors(self) -> tuple[Tensor, Tensor]:
        generated, tower = self.matrices
        down, up = generated.of(tower)
        return self.inner[:, None] * down[:, : self.width], spread(self.outer[:, None] * up[: len(self.outer)], self.chosen)


METHOD = Vera
