"""Cross-Modal Adapter: small bottlenecks after attention and MLP in both towers, whose last output channels share their weights.

Paper: Jiang et al. (arXiv:2211.09623), section 3.2; specification: peers.md A.2, E 3. The paper scores with frames weighed by each
caption: `pooling: query` (section 3.3 there), which makes a gallery's vectors depend on the query. The default `mean` is the
protocol of all other methods, so that the effect of the adapter and of the scoring can be told apart.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.kept_once import quick_gelu
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import add

SITES = ("attention", "mlp")


@dataclass(frozen=True)
class CmAdapter:
    """`rank`: width of the bottleneck; `shared`: output channels whose weights both towers use, layer by layer from the top.

    `pooling`: mean, or query with the `temperature` of the weights of frames. `last_blocks`: only the last so many blocks of each tower
    have them; None is all.
    """

    rank: int = 8
    shared: int = 16
    pooling: str = "mean"
    temperature: float = 5.0
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2211.09623"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        choose(self.pooling, ("mean", "query"), what="cm_adapter: pooling")
        if not 0 < self.shared <= min(clip.vision.width, clip.text.width):
            raise ValueError(f"cm_adapter: shared is {self.shared}; it must be positive and at most the width of both towers")
        if self.pooling == "query":
            clip.query_temperature = self.temperature
        deeper = max(clip.vision, clip.text, key=lambda tower: len(tower.blocks))
        slices = {layer: nn.ModuleDict({s: _linear(self.rank, self.shared) for s in SITES}) for layer, *_ in deeper.last(self.last_blocks)}
        modules = nn.ModuleDict({"shared": _by_layer(slices)})
        for tower in (clip.vision, clip.text):
            layers: dict[int, nn.ModuleDict] = {}
            # Tied from the top, so that towers of different depth share where both have a layer.
            for (layer, _, hooks), shared in zip(reversed(tower.last(self.last_blocks)), reversed(slices.values()), strict=False):
                own = layers[layer] = nn.ModuleDict({site: Private(tower.width, self.rank, self.shared) for site in SITES})
                for site, branch in zip(SITES, (hooks.attention, hooks.mlp), strict=True):
                    branch.append(add(_Joined(own[site], shared[site]), placement="sequential", scale=1.0))
            modules[tower.name] = _by_layer(layers)
        return modules


def _by_layer(layers: dict[int, nn.ModuleDict]) -> nn.ModuleDict:
    """The modules of each layer under its number, the lowest first."""
    return nn.ModuleDict({str(layer): layers[layer] for layer in sorted(layers)})


def _linear(width: int, out: int) -> nn.Linear:
    linear = nn.Linear(width, out)
    nn.init.trunc_normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear


class Private(nn.Module):
    """One tower's own part of an adapter: down (D -> rank) and the unshared part of up (rank -> D - shared)."""

    def __init__(self, width: int, rank: int, shared: int) -> None:
        super().__init__()
        self.down = _linear(width, rank)
        self.up = _linear(rank, width - shared) if width > shared else None


class _Joined(nn.Module):
    """(..., D) -> (..., D): the private channels first, the shared ones last. Registers nothing: its parts have their places."""

    def __init__(self, own: nn.Module, shared: nn.Module) -> None:
        super().__init__()
        self.parts = (own, shared)

    def forward(self, x: Tensor) -> Tensor:
        own, shared = self.parts
        assert isinstance(own, Private)
        z = quick_gelu(own.down(x))
        last: Tensor = shared(z)
        return last if own.up is None else torch.cat([own.up(z), last], dim=-1)


METHOD = CmAdapter
