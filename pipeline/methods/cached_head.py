"""A head on stored frame features: CLIP is never run again once its features are cached.

Paper: Ju et al., Efficient-Prompt, ECCV 2022 (arXiv:2112.04478), section 3.3; specification: peers.md E 8. Differs from the paper: the
transformer's output starts at zero and is added to the features, so that training starts from CLIP; and by default the text features
are cached too and changed by a residual MLP, where the paper learns 16 prompt tokens (`text: prefix`), for which the text tower runs.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.config.parse import choose
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import Bottleneck
from pipeline.methods.parts.mixer import Mixer
from pipeline.methods.parts.prompts import normal, prompt_text


@dataclass(frozen=True)
class CachedHead:
    """`layers` of the temporal transformer. `text`: mlp, prefix (`prefix` tokens after start-of-text, in the first layer), frozen."""

    layers: int = 1
    text: str = "mlp"
    prefix: int = 16

    paper: ClassVar[str] = "arXiv:2112.04478"
    sees_time: ClassVar[bool] = True

    @property
    def identity_at_init(self) -> bool:
        return self.text != "prefix"

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        choose(self.text, ("mlp", "prefix", "frozen"), what="cached_head: text")
        width = clip.embed_dim
        modules = nn.ModuleDict({"video": TemporalHead(width, length=shape.num_frames, layers=self.layers)})
        clip.frame_head.append(modules["video"])
        if self.text == "mlp":
            modules["text"] = Bottleneck(width, width, activation="gelu")
            clip.text_head.append(lambda features: features + modules["text"](features))
        elif self.text == "prefix":
            prompts = normal(1, self.prefix, clip.text.width, std=0.01)
            modules["text"] = nn.ParameterDict({"prompts": prompts})
            prompt_text(clip, prompts, head=self.prefix, num_words=shape.num_words)
        return modules


class TemporalHead(nn.Module):
    """Frame features (B, T, E) under their mask (B, T) -> features + out(transformer(features + positions)), out zero at first."""

    def __init__(self, width: int, *, length: int, layers: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(length, width).normal_(std=0.01))
        self.blocks = nn.ModuleList(Mixer(width, heads=max(width // 64, 1), std_width=width) for _ in range(layers))
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        x = features + self.position[: features.shape[1]]
        for block in self.blocks:
            x = block(x, keys=mask)
        out: Tensor = features + self.out(x)
        return out


METHOD = CachedHead
