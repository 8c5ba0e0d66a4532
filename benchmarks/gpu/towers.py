"""What all parts compute with: a CLIP with random weights, a method attached to it, and pairs of noise."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config.schema import Train
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Pairs, Split
from pipeline.methods import Shape
from pipeline.runtime.distributed import ALONE, Team
from pipeline.training import optim, step

CPU = torch.device("cpu")
SMALL, LARGE = "clip-tiny", "ViT-B-32-quickgelu"
FEW = Shape(num_frames=4, num_words=12)  # of the small CLIP
MANY = Shape(num_frames=12, num_words=32)


class Noise:
    """Videos of noise in memory, with the interface of a store; one of them ends early if `padded`."""

    kind, level = "noise", 0

    def __init__(self, clip: FrozenClip, shape: Shape, *, videos: int, padded: bool, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = (videos, shape.num_frames, 3, clip.image_size, clip.image_size)
        self.seen = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        self.mask = torch.ones(videos, shape.num_frames, dtype=torch.bool)
        self.mask[videos // 2, shape.num_frames // 2 :] = not padded
        self.video_ids, self.num_frames = [f"v{row}" for row in range(videos)], shape.num_frames

    def __len__(self) -> int:
        return len(self.seen)

    def batch(self, rows: list[int]) -> Videos:
        return Videos(self.seen[rows], self.mask[rows])


def noise(clip: FrozenClip, shape: Shape, *, videos: int, padded: bool = False, seed: int = 0) -> Split:
    """A split of so many videos with a caption each; the first two captions name a direction of time."""
    store: Any = Noise(clip, shape, videos=videos, padded=padded, seed=seed)
    ids = clip.tokenize([f"a video of number {row}" for row in range(videos)], num_words=shape.num_words)
    return Split(store, None, ids, np.arange(videos), np.arange(videos) < 2, store.video_ids)


def attached(backbone: str, name: str, *, shape: Shape, place: torch.device) -> FrozenClip:
    """A method with the same starts each time, on a CLIP of its own, as `bfloat16` rounds frozen weights for good."""
    clip = deepcopy(_plain(backbone))
    torch.manual_seed(3)
    return methods.attach(clip, methods.load(name, config={}), shape=shape).to(place)


def small(name: str, place: torch.device) -> FrozenClip:
    """A small CLIP in whose attached method every tensor matters: none is at a start that hides others."""
    clip = attached(SMALL, name, shape=FEW, place=CPU)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(torch.randn(parameter.shape).to(parameter), alpha=0.05)
    return clip.to(place)


@cache
def _plain(backbone: str) -> FrozenClip:
    """To build it takes longer than a step."""
    torch.manual_seed(0)
    return FrozenClip(build(backbone), name=backbone)


@dataclass
class Trainer:
    """A training of noise on a device, step by step."""

    clip: FrozenClip
    work: step.Step
    optimiser: torch.optim.Optimizer
    batch: Pairs
    settings: Train

    def backward(self) -> torch.Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        return self.work.backward(self.batch, total=self.settings.batch)

    def step(self) -> torch.Tensor:
        """A whole one; returns the loss."""
        loss = self.backward()
        self.work.scaler.unscale_(self.optimiser)
        optim.clip_gradients(self.clip.trained().values(), self.settings.clip_norm)
        self.work.scaler.step(self.optimiser)
        self.work.scaler.update()
        self.clip.limit_logit_scale()
        return loss


def trainer(clip: FrozenClip, split: Split, *, device: torch.device, settings: dict[str, Any], videos: int, team: Team = ALONE) -> Trainer:
    """`clip` with its method goes to the device; `settings` are keys of train. Batches that are not cut are pinned and stay on the host."""
    values = Train(**settings | {"batch": videos})
    clip.to(device).train()
    clip.checkpointing(values.checkpointing)
    work = step.prepare(clip, split, settings=values, team=team, device=device)
    optimiser = optim.build(clip.trained(), train=values, half_names=optim.half_names(clip))
    batch = split.pairs(team.share(np.arange(videos)))
    if device.type == "cuda":
        batch = Pairs(*(None if part is None else part.pin_memory() for part in batch))  # type: ignore[arg-type]
    return Trainer(clip, work, optimiser, batch, values)
