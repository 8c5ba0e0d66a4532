"""AIM: each frozen attention runs twice, over time and over space, with adapters behind both and beside the MLP.

Paper: Yang et al., AIM, ICLR 2023 (arXiv:2302.03024), section 3.2 and figure 2; specification: peers.md A.2, E 11. The paper has no
text tower: `text` as in MV-Adapter's comparison (arXiv:2301.07868, section 4.2). Differs from the paper: the learned frame
positions are off by default, because the count of 10,651,392 that is quoted for AIM is without them; without them the order of
frames cannot matter.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import attend
from pipeline.clip.tower import Flow, TokenHook
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import Bottleneck, adapt_text, add
from pipeline.methods.parts.positions import add_positions
from pipeline.methods.parts.prompts import entry


@dataclass(frozen=True)
class Aim:
    """`middle`: width of the three adapters (the paper: a quarter of the tower's). `position`: learned frame positions, zero at first.

    `text`: adapter (of width `text_middle`) or frozen. `last_blocks`: only the last so many blocks of each tower have them, and the
    positions are added where these begin; None is all.
    """

    middle: int = 192
    position: bool = False
    text: str = "adapter"
    text_middle: int = 64
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2302.03024"
    identity_at_init: ClassVar[bool] = True

    @property
    def sees_time(self) -> bool:
        return self.position

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        vision = clip.vision
        blocks = vision.last(self.last_blocks)
        modules = adapt_text(clip.text, text=self.text, middle=self.text_middle, last_blocks=self.last_blocks)
        if self.position:
            table = nn.Parameter(torch.zeros(shape.num_frames, vision.width))
            modules["frames"] = nn.ParameterDict({"position": table})
            entry(vision, blocks[0][0]).append(add_positions(table))
        layers = nn.ModuleDict()
        for layer, block, hooks in blocks:
            three = nn.ModuleDict({site: Bottleneck(vision.width, self.middle, activation="gelu") for site in ("time", "space", "joint")})
            hooks.before.append(_over_time(block, three["time"]))
            hooks.attention.append(add(three["space"], placement="sequential", scale=1.0))
            hooks.mlp.append(add(three["joint"], placement="parallel", scale=0.5))
            layers[str(layer)] = three
        modules["vision"] = layers
        return modules


def _over_time(block: Any, adapter: nn.Module) -> TokenHook:
    """x + A(attention over the frames at each place of x); the adapter has no skip, so this starts as the identity."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        number, places, frames = len(flow.frames), tokens.shape[1], flow.num_frames
        rows = block.ln_1(tokens).unflatten(0, (number, frames)).transpose(1, 2).flatten(0, 1)
        keys = flow.frames.repeat_interleave(places, dim=0) if flow.padded else None
        mixed = attend(block, rows, keys).unflatten(0, (number, places)).transpose(1, 2).flatten(0, 1)
        out: Tensor = tokens + adapter(mixed)
        return out

    return change


METHOD = Aim
