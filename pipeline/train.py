"""Train what a method attached: contrastive loss, one epoch after the other, resumable to the bit."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import cost, optim
from pipeline.clip import FrozenClip
from pipeline.data import Split
from pipeline.embed import embed
from pipeline.files import whole
from pipeline.loss import contrastive
from pipeline.params import Train
from pipeline.ranks import NotANumber
from pipeline.similarity import scores
from pipeline.validate import validation

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """What is known after an epoch. `alive` marks the entries of each trained tensor that ever received a gradient."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    alive: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    selected_epoch: int = 0
    step_bytes: int = 0


def train(
    clip: FrozenClip,
    data: tuple[Split, Split],
    *,
    settings: Train,
    seed: int,
    device: torch.device,
    state: Path,
    fingerprint: str,
    report: Callable[[list[dict[str, Any]]], None],
) -> tuple[Tensors, Progress]:
    """Train on data[0], validate on data[1]; returns the selected tensors and the history.

    After every epoch `state` is rewritten and `report` is called with all epochs so far. A `state` with the same `fingerprint`
    is continued from its last epoch and gives the same bits; another one is refused.
    """
    trained = clip.trained()
    clip.checkpointing(settings.checkpointing)
    progress = Progress(alive={name: torch.zeros_like(p, dtype=torch.bool) for name, p in trained.items()})
    if not trained:
        return {}, progress
    optimiser = optim.build(trained, train=settings, half_names=optim.half_names(clip))
    if state.exists():
        progress = _restore(state, trained, optimiser, fingerprint=fingerprint, device=device)
        report(progress.epochs)
    for epoch in range(len(progress.epochs), settings.epochs):
        progress.epochs.append(
            _epoch(clip, data[0], optimiser, epoch=epoch, settings=settings, seed=seed, device=device, progress=progress)
        )
        last = epoch + 1 == settings.epochs
        if last or (epoch + 1) % settings.validate_every == 0:
            progress.epochs[-1]["val"] = validation(embed(clip, data[1], device=device)[0])
        if last if settings.select == "last" else _is_best(progress.epochs):
            progress.best = {name: p.detach().clone() for name, p in trained.items()}
            progress.selected_epoch = epoch + 1
        _save(state, trained, optimiser, progress, fingerprint=fingerprint)
        report(progress.epochs)
    return progress.best, progress


def _epoch(
    clip: FrozenClip,
    split: Split,
    optimiser: torch.optim.Optimizer,
    *,
    epoch: int,
    settings: Train,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """One pass over the training split. Order, captions and rates follow from (seed, epoch) alone."""
    clip.train()
    trained = clip.trained()
    batches = list(order(split, settings=settings, seed=seed, epoch=epoch))
    total, seen, start = torch.zeros((), device=device), 0, time.perf_counter()
    for number, captions in enumerate(batches):
        step = epoch * len(batches) + number
        optim.set_rate(optimiser, optim.rate(step, steps=settings.epochs * len(batches), train=settings))
        # The second step: from then on the optimiser holds its state.
        wanted = step == min(1, settings.epochs * len(batches) - 1)
        with cost.measure_step(clip, optimiser, device=device, wanted=wanted) as used:
            loss = batch_loss(clip, split, captions, device=device, precision=settings.precision)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        progress.step_bytes = max(progress.step_bytes, used.bytes)
        for name, parameter in trained.items():
            if parameter.grad is not None:
                progress.alive[name] |= parameter.grad != 0
        optim.clip_gradients(trained.values(), settings.clip_norm, gain=settings.gradient_gain)
        optimiser.step()
        clip.limit_logit_scale()
        total += loss.detach()
        seen += len(captions)
    mean = float(total) / len(batches)
    if not math.isfinite(mean):
        raise NotANumber(
            f"the loss of epoch {epoch + 1} is {mean}; lower lr ({settings.lr}) or clip_lr ({settings.clip_lr}) in params.yaml"
        )
    rate = optimiser.param_groups[0]["lr"]
    return {"epoch": epoch + 1, "loss": mean, "lr": rate, "seconds": time.perf_counter() - start, "videos": seen, "val": None}


def batch_loss(clip: FrozenClip, split: Split, captions: np.ndarray, *, device: torch.device, precision: str) -> Tensor:
    """The loss of some captions (rows of the split) and their videos."""
    frames, mask = split.frames(split.video[captions])
    frames, mask, ids = frames.to(device), mask.to(device), split.ids[captions].to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        features, texts = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
    # Normalisation and softmax need float32 even when the towers do not.
    similarities = scores(texts.float(), features.float(), mask=mask, temperature=clip.query_temperature)
    return contrastive(similarities, scale=clip.logit_scale)


def order(split: Split, *, settings: Train, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The captions of each batch of an epoch. What does not fill a batch is left out; each epoch draws anew.

    `captions: one` draws one caption a video; `all` takes every caption, so a batch may hold a video twice.
    """
    rng = np.random.default_rng([seed, epoch])
    rows = np.arange(len(split.video))
    if settings.captions == "one":
        shuffled = rng.permutation(rows)
        _, first = np.unique(split.video[shuffled], return_index=True)
        rows = shuffled[first]
    rows = rng.permutation(rows)
    size = min(settings.batch, len(rows))
    for start in range(0, len(rows) - size + 1, size):
        yield rows[start : start + size]


def _is_best(epochs: list[dict[str, Any]]) -> bool:
    sums = [e["val"]["RSum"] for e in epochs if e["val"]]
    return bool(epochs[-1]["val"]) and sums[-1] == max(sums) and sums.count(sums[-1]) == 1


def _save(state: Path, trained: Any, optimiser: torch.optim.Optimizer, progress: Progress, *, fingerprint: str) -> None:
    with whole(state) as part:
        torch.save(
            {
                "fingerprint": fingerprint,
                "tensors": {name: p.detach() for name, p in trained.items()},
                "optimiser": optimiser.state_dict(),
                "progress": vars(progress),
            },
            part,
        )


def _restore(state: Path, trained: Any, optimiser: torch.optim.Optimizer, *, fingerprint: str, device: torch.device) -> Progress:
    """Continue a state. ValueError if it belongs to another run or cannot be read."""
    try:
        stored = torch.load(state, map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and torch errors alike
        raise ValueError(f"{state} cannot be read ({type(error).__name__}); delete it to train from the start") from error
    if stored["fingerprint"] != fingerprint:
        raise ValueError(f"{state} belongs to a run with other settings or inputs; delete it to train from the start")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stored["tensors"][name])
    optimiser.load_state_dict(stored["optimiser"])
    return Progress(**stored["progress"])
