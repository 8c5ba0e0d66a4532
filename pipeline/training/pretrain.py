"""Pretrain clip-tiny or a sister of it: contrastive learning on still pictures of the motion world and their captions.

The pictures come from their own random stream and stand on their own backgrounds, so none is a frame of a clip. Shapes: P
pictures, S pixels a side, L tokens.
"""

import functools
import itertools
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip, build
from pipeline.config.schema import Pretrain, Train
from pipeline.motion import captions, render, scene
from pipeline.runtime.processes import in_order
from pipeline.training import optim
from pipeline.training.loss import contrast_of

GROUNDS = (0, 1)  # of each tone; the clips of the dataset have the others
OBJECTS, ONE = (0.75, 0.20, 0.05), (1.0, 0.0, 0.0)  # shares of pictures with one, two, three objects
# Places are learned only so (docs/results/motion.md): the first share of the pictures has one object, and captions of its looks and place
# alone; of the rest so many have them. The vision tower's positions start with this deviation, as open_clip's, a tenth of it, stay unseen.
FIRST, PLACES, POSITIONS = 0.25, 0.3, 1.0
LATE = 0.4  # share of pictures from the end of a scene, besides those that fall there anyway
PIECE = 1000  # pictures rendered at a time
SIZE = 64
PARTS = 4  # of the captions of a batch
SCALES = {"softmax": 1 / 0.07, "sigmoid": 10.0}  # where the logit scale starts, by the loss; CLIP ends at 100


def pictures(settings: Pretrain) -> Iterator[tuple[np.ndarray, list[str]]]:
    """All pictures (PIECE, S, S, 3) uint8 and their captions, in an order that does not depend on the number of processes.

    They are rendered a few pieces ahead of the training and not all at once, which would fill the memory.
    """
    piece = functools.partial(_piece, settings.seed, first=int(FIRST * settings.pairs))
    yield from in_order(piece, range(-(-settings.pairs // PIECE)), workers=len(os.sched_getaffinity(0)))


def _piece(seed: int, number: int, *, first: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng([seed, number])
    images, texts = np.empty((PIECE, SIZE, SIZE, 3), np.uint8), list[str]()
    for row in range(PIECE):
        early = number * PIECE + row < first
        chosen = scene.sample(rng, grounds=GROUNDS, counts=ONE if early else OBJECTS)
        moment = float(rng.uniform(captions.TOLD_FROM, 1) if rng.random() < LATE else rng.random())
        images[row] = render.frame(chosen, moment, canvas=render.ground(chosen, height=SIZE, width=SIZE))
        tell = captions.placed_caption if early or rng.random() < PLACES else captions.still_caption
        texts.append(tell(chosen, moment, rng))
    return images, texts


def pretrain(settings: Pretrain, name: str, *, device: torch.device, report: Callable[[int, int, float], None]) -> dict[str, Tensor]:
    """Train the architecture `name` from random weights, each picture seen once; returns the weights. `report` gets (step, steps, loss).

    The loss is a sigmoid where the architecture has a bias for it, else a softmax. ValueError for one that sees other pictures.
    """
    model = build(name)
    clip = FrozenClip(model, name=name).to(device)
    if clip.image_size != SIZE:
        raise ValueError(f"{name} sees {clip.image_size} pixels a side, and the pictures to pretrain on have {SIZE}; use clip-tiny")
    named = "softmax" if clip.logit_bias is None else "sigmoid"
    with torch.no_grad():
        model.logit_scale.fill_(np.log(SCALES[named]))
        model.visual.positional_embedding.normal_(0, POSITIONS)
    contrast = contrast_of(clip, named)
    words = clip.context_length if clip.text.whole_rows else settings.words
    clip.unfreeze(bool)
    shared = Train(lr=settings.lr, clip_lr=settings.lr, weight_decay=settings.weight_decay)
    optimiser = optim.build(clip.trained(), train=shared)
    steps = settings.pairs // settings.batch
    for step, (images, texts) in enumerate(itertools.islice(_batches(settings), steps)):
        optim.set_rate(optimiser, optim.factor(step, steps=steps, warmup=settings.warmup))
        ids = clip.tokenize(texts, num_words=words).to(device)
        frames = torch.from_numpy(images).permute(0, 3, 1, 2)[:, None].to(device)
        seen = clip.encode_frames(frames, mask=torch.ones(len(frames), 1, dtype=torch.bool, device=device))[:, 0]
        similarities = F.normalize(_said(clip, ids), dim=-1) @ F.normalize(seen, dim=-1).T
        loss = contrast(similarities)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optim.clip_gradients(clip.trained().values(), 1.0)
        optimiser.step()
        clip.limit_logit_scale()
        report(step + 1, steps, loss.item())
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def _said(clip: FrozenClip, ids: Tensor) -> Tensor:
    """Text features (P, E), in parts by length: half of the captions fill half of the tokens. All at once where padding is read."""
    if clip.text.whole_rows:
        return clip.encode_text(ids)
    lengths = (ids != 0).sum(dim=1)
    order = lengths.argsort()
    parts = [clip.encode_text(ids[rows, : int(lengths[rows].max())]) for rows in order.chunk(PARTS)]
    return torch.cat(parts)[order.argsort()]


def _batches(settings: Pretrain) -> Iterator[tuple[np.ndarray, list[str]]]:
    """The same pictures cut into batches."""
    images, texts = np.empty((0, SIZE, SIZE, 3), np.uint8), list[str]()
    for more, said in pictures(settings):
        images, texts = np.concatenate([images, more]), texts + said
        while len(images) >= settings.batch:
            yield images[: settings.batch], texts[: settings.batch]
            images, texts = images[settings.batch :], texts[settings.batch :]
