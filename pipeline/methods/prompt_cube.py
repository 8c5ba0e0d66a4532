"""Prompt cube: as many prompts a frame as there are frames, of which frames exchange each other's before every attention.

Paper: Deng et al., Prompt Switch, ICCV 2023 (arXiv:2308.07648), section 3.2; its code: bladewaltz1/PromptSwitch. Prompt j of frame t and
prompt t of frame j change places on the way into an attention only, so what it says goes to the other frame and the stream stays.
Differs from the paper: CLIP is frozen; its weighing of frames and its captioning are left out; a padded frame keeps its own prompts, and
so do the others those that stand for it; `text` says what is done in the text tower. B videos, T frames, D width.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, Site, TokenHook, Tower
from pipeline.methods import Shape
from pipeline.methods.parts.bottleneck import adapt_text
from pipeline.methods.parts.prompts import drop, insert, normal


@dataclass(frozen=True)
class PromptCube:
    """`std`: of the start, before it is divided by the root of the width. `text`: adapter (of width `text_middle`) or frozen.

    `last_blocks`: only the last so many blocks of each tower have prompts or adapters; None is all.
    """

    std: float = 0.02
    text: str = "adapter"
    text_middle: int = 64
    last_blocks: int | None = None

    paper: ClassVar[str] = "arXiv:2308.07648"
    identity_at_init: ClassVar[bool] = False
    sees_time: ClassVar[bool] = True

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        vision, frames = clip.vision, shape.num_frames
        blocks = vision.last(self.last_blocks)
        modules = adapt_text(clip.text, text=self.text, middle=self.text_middle, last_blocks=self.last_blocks)
        cube = normal(frames, frames, vision.width, std=self.std / math.sqrt(vision.width))
        modules["vision"] = nn.ParameterDict({"prompts": cube})
        exchange = Exchange(vision)
        blocks[0][2].before.append(_put(vision, cube))
        for _, _, hooks in blocks:
            hooks.before.append(exchange.tokens)
            hooks.attention.append(exchange.back)
        blocks[-1][2].after.append(lambda tokens, flow: drop(tokens, at=vision.cls, number=frames))
        return modules


def _put(tower: Tower, cube: Tensor) -> TokenHook:
    """The prompts of each frame, right before its patches and behind `ln_pre`."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        return insert(tokens, cube[: flow.num_frames].repeat(len(flow.frames), 1, 1), at=tower.cls)

    return change


class Exchange:
    """Prompts of frames that change places: a frame is its CLS, where there is one, its prompts, and its patches."""

    def __init__(self, tower: Tower) -> None:
        self.at = tower.cls

    def tokens(self, tokens: Tensor, flow: Flow) -> Tensor:
        """Tokens (N, L, D) with the prompts of real frames exchanged; done twice, they are as before."""
        first, last = self.at, self.at + flow.num_frames
        prompts = tokens[:, first:last].unflatten(0, (-1, flow.num_frames))  # (B, T, T, D), of each frame those for each
        real = flow.frames[:, :, None, None] & flow.frames[:, None, :, None]
        changed = torch.where(real, prompts.transpose(1, 2), prompts).flatten(0, 1)
        return torch.cat([tokens[:, :first], changed, tokens[:, last:]], dim=1)

    def back(self, branch: Tensor, site: Site) -> Tensor:
        """The branch (N, L, D), and what brings the prompts of the stream back to their places."""
        return branch + (self.tokens(site.stream, site.flow) - site.stream)


METHOD = PromptCube
