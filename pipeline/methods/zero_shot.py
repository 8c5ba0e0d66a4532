"""CLIP as it is: the lower bound, and the model that every other method must equal before training.

Paper: Radford et al., ICML 2021 (arXiv:2103.00020); mean pooling over frames as in CLIP4Clip (arXiv:2104.08860), `meanP`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape


@dataclass(frozen=True)
class ZeroShot:
    """No trainable tensor."""

    paper: ClassVar[str] = "arXiv:2103.00020"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        return nn.Module()


METHOD = ZeroShot
