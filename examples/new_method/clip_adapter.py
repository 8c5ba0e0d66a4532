"""CLIP-Adapter: a small MLP on CLIP's finished features of frames and captions, added to them.

Paper: Gao et al. (arXiv:2110.04544), section 3.2. Differs from the paper: its residual weighs both parts (a and 1 - a), which cosines do
not see but for their ratio, here `scale` weighs the new one; the last map starts at zero, so that it starts as CLIP; one MLP serves all
frames of a video, each before they are averaged. E embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import Bottleneck


@dataclass(frozen=True)
class ClipAdapter:
    """`middle`: width of the MLP; `scale`: of what it adds. `towers` that have one: both, vision or text."""

    middle: int = 64
    scale: float = 1.0
    towers: str = "both"

    paper: ClassVar[str] = "arXiv:2110.04544"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:  # noqa: ARG002 - no table here has the length of a video
        choose(self.towers, ("both", "vision", "text"), what="clip_adapter: towers")
        modules = nn.ModuleDict()
        if self.towers != "text":
            modules["vision"] = vision = Residual(clip.embed_dim, self.middle, self.scale)
            clip.frame_head.append(lambda features, mask: vision(features))  # noqa: ARG005 - padding has no say: each frame is alone
        if self.towers != "vision":
            modules["text"] = Residual(clip.embed_dim, self.middle, self.scale)
            clip.text_head.append(modules["text"])
        return modules


class Residual(Bottleneck):
    """Features (..., E) -> x + scale * W2 ReLU(W1 x), W2 zero at the start."""

    def __init__(self, width: int, middle: int, scale: float) -> None:
        super().__init__(width, middle, activation="relu")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * super().forward(x)


METHOD = ClipAdapter
