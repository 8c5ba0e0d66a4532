"""The common ground of all parts: a CLIP with random weights, a method attached to it, and pairs of noise."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.part import Part
from benchmarks.step import ANCHOR
from pipeline import methods
from pipeline.clip import FrozenClip, build, tokens
from pipeline.config.schema import Train
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Pairs, Split
from pipeline.methods import Shape
from pipeline.runtime.device import precision
from pipeline.runtime.distributed import ALONE, Team
from pipeline.training import optim, step
from tests.methods.cases import SHAPE

CPU = torch.device("cpu")
SMALL, LARGE = "clip-tiny", "ViT-B-32-quickgelu"
BLOCKS = 3  # of the small CLIP: the options of tests/methods/cases.py are for so many
FEW, MANY = SHAPE, Shape(num_frames=12, num_words=32)


class Noise:
    """Videos of noise in memory, with the interface of a store; one of them ends early if `padded`."""

    kind, level = "noise", 0

    def __init__(self, clip: FrozenClip, shape: Shape, *, videos: int, padded: bool, seed: int) -> None:
        size = (videos, shape.num_frames, 3, clip.image_size, clip.image_size)
        self.seen = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))
        self.mask = torch.ones(videos, shape.num_frames, dtype=torch.bool)
        self.mask[videos // 2, shape.num_frames // 2 :] = not padded
        self.video_ids, self.num_frames = [f"v{row}" for row in range(videos)], shape.num_frames

    def __len__(self) -> int:
        return len(self.seen)

    def batch(self, rows: list[int]) -> Videos:
        return Videos(self.seen[rows], self.mask[rows])


def noise(clip: FrozenClip, shape: Shape, *, videos: int, padded: bool = False, seed: int = 0) -> Split:
    """A split of so many videos with a caption each, and one of every frame if the method asks for it; two name a direction of time."""
    store: Any = Noise(clip, shape, videos=videos, padded=padded, seed=seed)
    ids = clip.tokenize([f"a video of number {row}" for row in range(videos)], num_words=shape.num_words)
    split = Split(store, None, ids, np.arange(videos), np.arange(videos) < 2, store.video_ids)
    extra = ids[:, None].repeat(1, shape.num_frames, 1) if clip.extra_captions else None
    return replace(split, extra=extra)


def called(backbone: str) -> str:
    """The name of a backbone, and what it is not."""
    return f"{backbone}, {BLOCKS} blocks" if backbone == SMALL else backbone


def plain(backbone: str) -> FrozenClip:
    """A CLIP of its own, with the same random weights each time: what trains it, or computes in bfloat16, changes it for good."""
    model, tokenizer = _built(backbone)
    return FrozenClip(deepcopy(model), name=backbone, tokenizer=tokenizer)


@cache
def _built(backbone: str) -> tuple[Any, tokens.Tokenizer]:
    """To make these takes longer than a step."""
    torch.manual_seed(0)
    model = build(backbone)
    if backbone == SMALL:
        for tower in (model.visual.transformer, model.transformer):
            del tower.resblocks[BLOCKS:]
    return model, tokens.without_weights(model)


def attached(backbone: str, name: str, *, shape: Shape, config: Mapping[str, Any]) -> FrozenClip:
    """A method with the same starts each time, on a CLIP of its own on the CPU."""
    clip = plain(backbone)
    torch.manual_seed(3)
    return methods.attach(clip, methods.load(name, config=config), shape=shape)


def small(name: str, config: Mapping[str, Any] | None = None) -> FrozenClip:
    """A small CLIP in whose attached method every tensor matters: none is at a start that hides others."""
    clip = attached(SMALL, name, shape=FEW, config=config or {})
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(torch.randn(parameter.shape).to(parameter), alpha=0.05)
    return clip


def trainings(part: Part, others: Iterable[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Methods and settings of train: all of a part that train something, in the precision usual on its device, and `others` of one."""
    usual = {"precision": precision("auto", part.device)}
    names = [name for name in part.methods if _trains(name)]
    varied = [(ANCHOR, usual | settings) for settings in others if ANCHOR in names]
    chosen = [(name, usual) for name in names]
    return chosen + [training for training in varied if training not in chosen]


@cache
def _trains(name: str) -> bool:
    return bool(attached(SMALL, name, shape=FEW, config={}).trained())


def label(name: str, settings: Mapping[str, Any]) -> str:
    """As in params.yaml."""
    return ", ".join([name, *(f"{key}: {str(value).lower()}" for key, value in settings.items())])


@dataclass
class Trainer:
    """A training of noise on a device, step by step."""

    clip: FrozenClip
    work: step.Step
    optimiser: torch.optim.Optimizer
    batch: Pairs
    settings: Train

    def backward(self) -> torch.Tensor:
        """The gradient of the batch, as the loss is scaled; returns the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        return self.work.backward(self.batch, total=self.settings.batch)

    def step(self) -> None:
        """A whole one."""
        self.backward()
        self.work.scaler.unscale_(self.optimiser)
        optim.clip_gradients(self.clip.trained().values(), self.settings.clip_norm)
        self.work.scaler.step(self.optimiser)
        self.work.scaler.update()
        self.clip.limit_logit_scale()


def trainer(clip: FrozenClip, split: Split, *, device: torch.device, settings: Mapping[str, Any], team: Team = ALONE) -> Trainer:
    """`clip` with its method goes to the device, all videos of `split` are its batch. `settings` are keys of train."""
    values = Train(**{**settings, "batch": len(split.store)})
    clip.to(device).train()
    clip.checkpointing(values.checkpointing)
    work = step.prepare(clip, split, settings=values, team=team, device=device)
    optimiser = optim.build(clip.trained(), train=values, half_names=optim.half_names(clip))
    batch = split.pairs(team.share(np.arange(values.batch)))
    if device.type == "cuda":
        batch = Pairs(*(None if part is None else part.pin_memory() for part in batch))  # type: ignore[arg-type]
    return Trainer(clip, work, optimiser, batch, values)
