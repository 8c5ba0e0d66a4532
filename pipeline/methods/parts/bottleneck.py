"""Bottleneck adapters: down, a nonlinearity, up; and where they are attached. D width, M bottleneck."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.kept_once import quick_gelu
from pipeline.clip.tower import BranchHook, Site, Tower
from pipeline.config.parse import choose

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "quick_gelu": quick_gelu}
PLACEMENTS = ("parallel", "sequential")


class Bottleneck(nn.Module):
    """(..., D) -> (..., D): `up(activation(down(x)))`, zero before training because `up` starts at zero."""

    def __init__(self, width: int, middle: int, *, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[choose(activation, ACTIVATIONS, what="activation")]
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.activation(self.down(x)))
        return out


def add(module: nn.Module, *, placement: str, scale: float) -> BranchHook:
    """branch + scale * module(x), where x is the branch's normalised input (parallel), that before the norm (stream), or the branch itself
    (sequential)."""

    def change(branch: Tensor, site: Site) -> Tensor:
        seen = site.normed if placement == "parallel" else site.stream if placement == "stream" else branch
        out: Tensor = branch + scale * module(seen)
        return out

    return change


def adapt_mlp(tower: Tower, *, middle: int, scale: float = 0.1, last_blocks: int | None = None) -> nn.ModuleDict:
    """AdaptFormer's adapter after the MLP of every block: what MV-Adapter's paper puts into the text tower of video-only methods."""
    adapters = nn.ModuleDict()
    for layer, _, hooks in tower.last(last_blocks):
        adapter = adapters[str(layer)] = Bottleneck(tower.width, middle, activation="relu")
        hooks.mlp.append(add(adapter, placement="sequential", scale=scale))
    return adapters


def adapt_text(tower: Tower, *, text: str, middle: int, last_blocks: int | None = None) -> nn.ModuleDict:
    """The text tower of a method that its paper defines for video only: AdaptMLP, or frozen."""
    choose(text, ("adapter", "frozen"), what="text")
    return nn.ModuleDict({"text": adapt_mlp(tower, middle=middle, last_blocks=last_blocks)} if text == "adapter" else {})
