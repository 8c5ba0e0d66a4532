"""Convpass: a 3x3 convolution in a narrow bottleneck beside the attention and the MLP of every vision block.

Paper: Jie and Deng (arXiv:2207.07039), section 3.2; specification: peers.md A.2. CLS is convolved as a picture of one pixel. The paper
has no text tower: `text` as in MV-Adapter's comparison (arXiv:2301.07868, section 4.2).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.kept_once import quick_gelu
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import adapt_text, add
from pipeline.methods.parts.space_time import side


@dataclass(frozen=True)
class Convpass:
    """`middle`: width of the bottleneck; `scale`: the paper's s, searched there. `text`: adapter (of width `text_middle`) or frozen.

    `last_blocks`: only the last so many blocks of each tower have them; None is all.
    """

    middle: int = 8
    scale: float = 0.1
    text: str = "adapter"
    text_middle: int = 64
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2207.07039"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        layers = nn.ModuleDict()
        for layer, _, hooks in clip.vision.last(self.last_blocks):
            bypass = nn.ModuleDict({site: Bypass(clip.vision.width, self.middle, cls=clip.vision.cls) for site in ("attention", "mlp")})
            layers[str(layer)] = bypass
            hooks.attention.append(add(bypass["attention"], placement="parallel", scale=self.scale))
            hooks.mlp.append(add(bypass["mlp"], placement="parallel", scale=self.scale))
        modules = adapt_text(clip.text, text=self.text, middle=self.text_middle, last_blocks=self.last_blocks)
        modules["vision"] = layers
        return modules


class Bypass(nn.Module):
    """(N, L, D) -> (N, L, D): down, QuickGELU, convolution that starts as the identity, QuickGELU, up that starts at zero.

    `cls` of the L tokens stand before the patches, 1 or 0.
    """

    def __init__(self, width: int, middle: int, *, cls: int = 1) -> None:
        super().__init__()
        self.cls = cls
        self.down, self.up = nn.Linear(width, middle), nn.Linear(middle, width)
        self.conv = nn.Conv2d(middle, middle, 3, padding=1)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.conv.weight)
        with torch.no_grad():
            self.conv.weight[:, :, 1, 1] += torch.eye(middle)
        assert self.conv.bias is not None
        for tensor in (self.down.bias, self.conv.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        h = quick_gelu(self.down(x)).transpose(1, 2)
        length = side(h.shape[2] - self.cls)
        convolved = self.conv(h[:, :, self.cls :].unflatten(2, (length, length))).flatten(2)
        if self.cls:
            convolved = torch.cat([self.conv(h[:, :, :1, None]).flatten(2), convolved], dim=2)
        out: Tensor = self.up(quick_gelu(convolved.transpose(1, 2)))
        return out


METHOD = Convpass
