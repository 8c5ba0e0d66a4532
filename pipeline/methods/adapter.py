"""Bottleneck adapters beside or behind the attention or the MLP of every block, in both towers.

Papers: VoP's Adapter^ATTN and Adapter^FFN (arXiv:2211.12764, table 1; vop.md 7.5, 7.6), after He et al. (arXiv:2110.04366) and
AdaptFormer (arXiv:2205.13535); `sequential` is MV-Adapter's Adapt_seq, `parallel` its Adapt_par (arXiv:2301.07868, tables 1 to 5).
VoP states the width 64 and "in parallel", nothing else: activation, scale and start are those of the two sources.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import PLACEMENTS, Bottleneck, add

VARIANTS = {"adapter_attn": {"site": "attention", "scale": 1.0}, "adapter_ffn": {"site": "mlp", "scale": 0.1}}


@dataclass(frozen=True)
class Adapter:
    """`site`: attention or mlp. `placement`: parallel reads the branch's normalised input, sequential its output. `middle`: width.

    `last_blocks`: only the last so many blocks of each tower have them; None is all.
    """

    site: str = "mlp"
    placement: str = "parallel"
    middle: int = 64
    scale: float = 0.1
    activation: str = "relu"
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2211.12764"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        choose(self.site, ("attention", "mlp"), what="site")
        choose(self.placement, PLACEMENTS, what="placement")
        modules = nn.ModuleDict()
        for tower in (clip.vision, clip.text):
            adapters = nn.ModuleDict()
            for layer, _, hooks in tower.last(self.last_blocks):
                adapter = adapters[str(layer)] = Bottleneck(tower.width, self.middle, activation=self.activation)
                branch = hooks.attention if self.site == "attention" else hooks.mlp
                branch.append(add(adapter, placement=self.placement, scale=self.scale))
            modules[tower.name] = adapters
        return modules


METHOD = Adapter
