"""SHERL: a side module for each tower reads the tokens of all its layers, and no gradient enters the towers.

Paper: Diao et al., ECCV 2024 (arXiv:2407.07523), section 3; its code: Paranioar/SHERL, `CLIP4Clip/modules/modeling.py`. Training needs the
memory of a forward pass and of the side modules. `zero_start`, fewer `taps` and `width` are ours. Where attention over all tokens reads a
tower, what stands for a frame is the mean of its patches (`anchor`).
Shapes: N frames or captions, L tokens, D width of the tower, E embedding, h width of the side module, K taps.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, Tower
from pipeline.config.parse import chosen
from pipeline.methods import Shape
from pipeline.methods.parts.anchor import Anchor

SHARP = 0.1  # temperature of the gates
SMALL = 1e-6


@dataclass(frozen=True)
class Sherl:
    """`width` h of the side modules. `gates`: a learned weight of the token that is read, in each layer. `anchor`: that of a frame.

    - `zero_start`: the last map starts at zero, and so the features as CLIP's.
    - `taps`: the levels that are read, of both towers: 0 for what enters the first block, k for what leaves the k-th. Empty is all. With
      the lowest above 0 the blocks below it may be stored.
    """

    width: int = 512
    gates: bool = True
    zero_start: bool = False
    taps: list[int] = field(default_factory=list)
    anchor: str = chosen("auto", "cls", "patches")

    paper: ClassVar[str] = "arXiv:2407.07523"
    sees_time: ClassVar[bool] = False

    @property
    def identity_at_init(self) -> bool:
        return self.zero_start

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        modules = nn.ModuleDict()
        for tower in (clip.vision, clip.text):
            tower.taps = self._taps(tower)
            read = Anchor(clip, self.anchor, method="sherl") if tower is clip.vision else EndOfText(whole=tower.whole_rows)
            tower.side = modules[tower.name] = Side(self, tower, read, embed_dim=clip.embed_dim)
        return modules

    def _taps(self, tower: Tower) -> list[int]:
        """The levels that are read of a tower. ValueError for one that it has not, or that is named twice."""
        taps = sorted(set(self.taps)) or list(range(tower.top + 1))
        if taps[0] < 0 or taps[-1] > tower.top or len(set(self.taps)) < len(self.taps):
            raise ValueError(
                f"sherl: taps are {self.taps}; the {tower.name} tower has levels 0 to {tower.top}; name some of them once each"
            )
        return taps


class EndOfText(nn.Module):
    """Rows (N, L, h) of captions -> that of the token which is read (N, h); `whole`: what follows it counts as the caption's, too."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, rows: Tensor, flow: Flow) -> Tensor:
        return rows[torch.arange(len(rows), device=rows.device), flow.read]

    def real(self, rows: Tensor, flow: Flow) -> Tensor | None:
        """Which tokens (N, L) are the caption's, None for all."""
        return None if self.whole else torch.arange(rows.shape[1], device=rows.device) <= flow.read[:, None]


class Side(nn.Module):
    """Features (N, E) and the tokens (N, L, D) of K layers -> other features (N, E). `read` takes the token that stands for a row.

    Each layer becomes one vector: its tokens weighed by how they go with the feature, and the token that is read. Layers are weighed by
    how they go with the feature, too, and the less, the more others say the same.
    """

    def __init__(self, settings: Sherl, tower: Tower, read: Anchor | EndOfText, *, embed_dim: int) -> None:
        super().__init__()
        number, width = len(tower.taps), settings.width
        self.read = read
        self.down = nn.ModuleList(nn.Linear(tower.width, width) for _ in range(number))
        self.feature = nn.Linear(embed_dim, width)
        self.tokens = nn.ModuleList(nn.Linear(width, 1) for _ in range(number))
        self.layers = nn.Linear(width, 1)
        self.up = nn.Linear(width, embed_dim)
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        if settings.zero_start:
            nn.init.zeros_(self.up.weight)
        self.gates = nn.Parameter(torch.ones(number)) if settings.gates else None

    def forward(self, features: Tensor, tapped: list[Tensor], flow: Flow) -> Tensor:
        whole = self.feature(F.relu(features))
        gates = torch.ones(len(tapped), device=whole.device) if self.gates is None else (self.gates / SHARP).sigmoid()
        layers = torch.stack([self._layer(k, tokens, whole, gates[k], flow) for k, tokens in enumerate(tapped)], dim=1)
        alike = F.normalize(layers, dim=-1)
        redundancy = F.relu(alike @ alike.mT).sum(dim=-1)
        weights = _shares(F.relu(self.layers(layers * whole[:, None])[..., 0]) / redundancy)
        out: Tensor = self.up(F.relu((weights[:, None] @ layers)[:, 0] + whole)) + features
        return out

    def _layer(self, k: int, tokens: Tensor, whole: Tensor, gate: Tensor, flow: Flow) -> Tensor:
        """The tokens (N, L, D) of a layer -> its vector (N, h)."""
        rows = self.down[k](F.relu(tokens))
        fits = F.relu(self.tokens[k](rows * whole[:, None])[..., 0])
        real = self.read.real(rows, flow) if isinstance(self.read, EndOfText) else None
        weights = _shares(fits if real is None else fits * real)
        out: Tensor = (weights[:, None] @ rows)[:, 0] + gate * self.read(rows, flow)
        return out


def _shares(weights: Tensor) -> Tensor:
    """Weights of at least 0 as shares of their sum, none if all are 0."""
    return weights / (weights.sum(dim=-1, keepdim=True) + SMALL)


METHOD = Sherl
