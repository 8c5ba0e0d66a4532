"""Low-rank changes of the weights of a tower's blocks, as LoRA's. D width, r rank."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.clip.attention import LowRank
from pipeline.clip.tower import Tower

FUSED = ("q", "k", "v")
WEIGHTS = {"out": "attn.out_proj.weight", "fc": "mlp.c_fc.weight", "proj": "mlp.c_proj.weight"}


def change_weights(
    tower: Tower, *, rank: int, targets: Sequence[str] = FUSED, scale: float = 1.0, last_blocks: int | None = None
) -> nn.ModuleDict:
    """A `Change` of each target in each of the last blocks, by its layer. The targets of FUSED share one, A included."""
    layers = nn.ModuleDict()
    for layer, block, hooks in tower.last(last_blocks):
        changes = nn.ModuleDict()
        fused = [name in targets for name in FUSED]
        if any(fused):
            changes["qkv"] = hooks.weights["attn.in_proj_weight"] = Change(tower.width, fused, tower.width, rank, scale)
        for target in (name for name in WEIGHTS if name in targets):
            weight = block.get_parameter(WEIGHTS[target])
            changes[target] = hooks.weights[WEIGHTS[target]] = Change(len(weight), [True], weight.shape[1], rank, scale)
        layers[str(layer)] = changes
    return layers


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
