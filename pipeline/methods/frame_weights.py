"""Learned weights of the frames in a video's mean, over a frozen CLIP: TeachCLIP's attentional frame-feature aggregation.

Paper: Tian et al., TeachCLIP, CVPR 2024 (arXiv:2308.01217), section 3.2; its code: ruc-aimc-lab/TeachCLIP. A frame's weight follows
from its feature alone, so a video is still one stored vector. Differs from the paper: CLIP is frozen, no teacher is asked, and the last
map starts at zero, so that all frames count alike. Its bias moves all weights of a video alike and does nothing.
T frames, E embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.methods import Shape


@dataclass(frozen=True)
class FrameWeights:
    """`width` of the hidden layer, that of the features where it is 0. `temperature` of the softmax over a video's real frames."""

    width: int = 0
    temperature: float = 0.1

    paper: ClassVar[str] = "arXiv:2308.01217"
    identity_at_init: ClassVar[bool] = True
    sees_time: ClassVar[bool] = False

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        if self.width < 0 or self.temperature <= 0:
            raise ValueError(f"frame_weights: width is {self.width} and temperature {self.temperature}; give 0 or more, and more than 0")
        clip.frame_weights = Weights(clip.embed_dim, self.width or clip.embed_dim, self.temperature)
        return nn.ModuleDict({"video": clip.frame_weights})


class Weights(nn.Module):
    """Frame features (B, T, E) under their mask (B, T) -> weights (B, T), the largest of a video's real frames 1."""

    def __init__(self, width: int, middle: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.fc, self.out = nn.Linear(width, middle), nn.Linear(middle, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        said = (self.out(F.relu(self.fc(features)))[..., 0] / self.temperature).masked_fill(~mask, float("-inf"))
        # A softmax up to its sum, by which the mean is divided: equal frames have weights of exactly 1, and CLIP's mean bit for bit.
        weights: Tensor = (said - said.amax(dim=-1, keepdim=True)).exp()
        return weights


METHOD = FrameWeights
