"""One wide bottleneck at the entry of every block, in both towers; the video one convolves its patches over space and time.

Papers: rows "Visual-Text Adapter" and "Video-Text Adapter" of STOP's table, after Houlsby et al. (arXiv:1902.00751) and ST-Adapter
(arXiv:2206.13559). **Re-implemented from parameter counts** (vop.md 7.7, 7.8): no source defines them. The width 384 is the uniform
one that gives the 11.82 M of the table; the 3x3x3 kernel without bias gives 11.945 M, printed there as 11.94. Place, activation and
start are ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, TokenHook
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import Bottleneck
from pipeline.methods.parts.space_time import SpaceTime, at_entry

VARIANTS = {"visual_text_adapter": {"video": False}, "video_text_adapter": {"video": True}}


@dataclass(frozen=True)
class EntryAdapter:
    """`video`: a depthwise convolution over (T, H, W) in the bottleneck of the vision tower. `middle`: its width.

    `last_blocks`: only the last so many blocks of each tower have them; None is all.
    """

    video: bool = False
    middle: int = 384
    activation: str = "gelu"
    conv_bias: bool = False
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:1902.00751"
    identity_at_init: ClassVar[bool] = True

    @property
    def sees_time(self) -> bool:
        return self.video

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        modules = nn.ModuleDict()
        for tower in (clip.vision, clip.text):
            adapters = nn.ModuleDict()
            for layer, _, hooks in tower.last(self.last_blocks):
                if self.video and tower is clip.vision:
                    wide = SpaceTime(tower.width, self.middle, kernel=(3, 3, 3), bias=self.conv_bias, activation=self.activation)
                    nn.init.zeros_(wide.up.weight)
                    adapters[str(layer)] = wide
                    hooks.before.append(_video(wide, cls=tower.cls))
                else:
                    adapter = adapters[str(layer)] = Bottleneck(tower.width, self.middle, activation=self.activation)
                    hooks.before.append(_plain(adapter))
            modules[tower.name] = adapters
        return modules


def _plain(adapter: nn.Module) -> TokenHook:
    def change(tokens: Tensor, flow: Flow) -> Tensor:
        out: Tensor = tokens + adapter(tokens)
        return out

    return change


def _video(adapter: SpaceTime, *, cls: int) -> TokenHook:
    """CLS, where there is one, goes through the same bottleneck without the convolution."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        first = adapter.up(adapter.activation(adapter.down(tokens[:, :, :cls])))
        return tokens + torch.cat([first, adapter(tokens[:, :, cls:], mask=flow.frames)], dim=2)

    return at_entry(change)


METHOD = EntryAdapter
