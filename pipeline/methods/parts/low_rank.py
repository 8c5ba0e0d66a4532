"""Changes of the weights of a tower's blocks: which weights there are, and LoRA's change of one. D width, r rank, a weight is (O, I)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import LowRank
from pipeline.clip.tower import Tower
from pipeline.config.parse import choose

FUSED = ("q", "k", "v")
WEIGHTS = {"out": "attn.out_proj.weight", "fc": "mlp.c_fc.weight", "proj": "mlp.c_proj.weight"}
# A weight and which of its equal parts are chosen -> a weight hook.
Make = Callable[[Tensor, list[bool]], nn.Module]


def check(name: str, targets: Sequence[str], *, rank: int) -> None:
    """ValueError for no target of the method `name` or an unknown one, and for a rank that is none."""
    for target in targets or [""]:
        choose(target, (*FUSED, *WEIGHTS), what=f"{name}: a target")
    if rank < 1:
        raise ValueError(f"{name}: rank is {rank}; give 1 or more")


def change_weights(tower: Tower, make: Make, *, targets: Sequence[str] = FUSED, last_blocks: int | None = None) -> nn.ModuleDict:
    """A change by `make` for each target in each of the last blocks, by its layer. The targets of FUSED are parts of one weight."""
    layers = nn.ModuleDict()
    for layer, block, hooks in tower.last(last_blocks):
        changes = nn.ModuleDict()
        for target, (name, chosen) in places(targets).items():
            changes[target] = hooks.weights[name] = make(block.get_parameter(name), chosen)
        layers[str(layer)] = changes
    return layers


def change_towers(clip: FrozenClip, make: Make, *, targets: Sequence[str] = FUSED, last_blocks: int | None = None) -> nn.ModuleDict:
    """The same of both towers, by their names."""
    towers = clip.vision, clip.text
    return nn.ModuleDict({tower.name: change_weights(tower, make, targets=targets, last_blocks=last_blocks) for tower in towers})


def places(targets: Sequence[str]) -> dict[str, tuple[str, list[bool]]]:
    """The weights that targets are in: by what a change is called, the name in the block and which of its parts are chosen."""
    fused = [name in targets for name in FUSED]
    found = {"qkv": ("attn.in_proj_weight", fused)} if any(fused) else {}
    return found | {target: (name, [True]) for target, name in WEIGHTS.items() if target in targets}


def rows_of(weight: Tensor, chosen: list[bool]) -> int:
    """How many rows of a weight its chosen parts have."""
    return len(weight) // len(chosen) * sum(chosen)


def spread(rows: Tensor, chosen: list[bool]) -> Tensor:
    """Rows of the chosen parts -> those of all parts (O, ...), in which the others are zero."""
    if all(chosen):
        return rows
    parts = iter(rows.chunk(sum(chosen)))
    nothing = torch.zeros_like(rows[: len(rows) // sum(chosen)])
    return torch.cat([next(parts) if one else nothing for one in chosen])


class Change(LowRank):
    """scale * B A for the chosen parts of a weight; nothing at the start, because B is zero.

    The parts share A (r, I), or each has its own: then `down` has theirs one below the other.
    """

    def __init__(self, weight: Tensor, chosen: list[bool], *, rank: int, scale: float = 1.0, shared: bool = True) -> None:
        super().__init__()
        self.chosen, self.scale, self.shared = chosen, scale, shared
        self.down = nn.Parameter(torch.empty(rank if shared else sum(chosen) * rank, weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(rows_of(weight, chosen), rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def factors(self) -> tuple[Tensor, Tensor]:
        up = self.scale * self.up
        return self.down, spread(up if self.shared else torch.block_diag(*up.chunk(sum(self.chosen))), self.chosen)
