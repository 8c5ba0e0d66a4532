"""Fine-tune every tensor of both towers: one whole model a task, the upper bound in cost.

Paper: Luo et al., CLIP4Clip (arXiv:2104.08860), `meanP`; all 151,277,313 tensors of ViT-B/32 as MV-Adapter and VoP count it.
Differs from the paper: CLIP4Clip's own setting freezes the patch convolution and the embeddings (peers.md A.1).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape


@dataclass(frozen=True)
class FullFinetune:
    """`train_logit_scale`: the temperature too. It is frozen for every method by default (vop.md 8), so that losses compare."""

    paper: ClassVar[str] = "arXiv:2104.08860"
    identity_at_init: ClassVar[bool] = True

    train_logit_scale: bool = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        clip.unfreeze(lambda name: self.train_logit_scale or name != "logit_scale")
        return nn.Module()


METHOD = FullFinetune
