"""ST-Adapter: patches see the same place in the frames before and after, through a bottleneck at the entry of every vision block.

Paper: Pan et al., NeurIPS 2022 (arXiv:2206.13559), section 3.2; specification: peers.md A.2, E 6. The paper has no text tower: `text`
says what is done there, by default the AdaptMLP that MV-Adapter's comparison uses (arXiv:2301.07868, section 4.2).
Differs from the paper: padded frames are zero before the convolution.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, TokenHook
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import adapt_text
from pipeline.methods.parts.space_time import SpaceTime, at_entry


@dataclass(frozen=True)
class StAdapter:
    """`middle`: width of the bottleneck. `text`: adapter (of width `text_middle`) or frozen.

    `last_blocks`: only the last so many blocks of each tower have them; None is all.
    """

    middle: int = 384
    text: str = "adapter"
    text_middle: int = 64
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2206.13559"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = True

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        adapters = nn.ModuleDict()
        for layer, _, hooks in clip.vision.last(self.last_blocks):
            adapter = SpaceTime(clip.vision.width, self.middle, kernel=(3, 1, 1), bias=True, activation="none")
            nn.init.zeros_(adapter.conv.weight)
            assert adapter.conv.bias is not None
            nn.init.zeros_(adapter.conv.bias)
            adapters[str(layer)] = adapter
            hooks.before.append(_patches(adapter, cls=clip.vision.cls))
        modules = adapt_text(clip.text, text=self.text, middle=self.text_middle, last_blocks=self.last_blocks)
        modules["vision"] = adapters
        return modules


def _patches(adapter: SpaceTime, *, cls: int) -> TokenHook:
    def change(tokens: Tensor, flow: Flow) -> Tensor:
        first, patches = tokens[:, :, :cls], tokens[:, :, cls:]
        return torch.cat([first, patches + adapter(patches, mask=flow.frames)], dim=2)

    return at_entry(change)


METHOD = StAdapter
