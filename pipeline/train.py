"""Train what a method attached: contrastive loss, one epoch after the other, resumable to the bit."""

import itertools
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
from pipeline.data import Pairs, Split
from pipeline.embed import embed
from pipeline.files import whole
from pipeline.loader import Stream
from pipeline.loss import contrastive
from pipeline.params import Train
from pipeline.ranks import NotANumber
from pipeline.similarity import scores
from pipeline.validate import validation

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """What is known after some steps. `alive` marks the entries of each trained tensor that ever received a gradient.

    `part` is the epoch under way: its `steps` so far, and the sums of `loss`, `videos`, `seconds` and seconds `waited` for data.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    alive: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    selected_epoch: int = 0
    step_bytes: int = 0
    part: dict[str, Any] = field(default_factory=dict)


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
    workers: int = 0,
    save_every: int = 0,
) -> tuple[Tensors, Progress]:
    """Train on data[0], validate on data[1]; returns the selected tensors and the history.

    `state` is rewritten after every epoch, and every `save_every` steps if that is not 0; `report` is called with all epochs so far
    after every epoch. A `state` with the same `fingerprint` is continued from its last step and gives the same bits; another one is
    refused. `workers` as in `loader.Stream`.
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

    def save(number: int = 0) -> None:
        """After a step of an epoch: if it is due."""
        if not number or (save_every and number % save_every == 0):
            _save(state, trained, optimiser, progress, fingerprint=fingerprint)

    steps = len(list(order(data[0], settings=settings, seed=seed, epoch=0)))
    stream = Stream(data[0].pairs, _remaining(data[0], progress, settings=settings, seed=seed), device=device, workers=workers)
    batches = iter(stream)
    for epoch in range(len(progress.epochs), settings.epochs):
        _epoch(clip, data[0], (stream, batches), optimiser, epoch=epoch, steps=steps, settings=settings, progress=progress, save=save)
        last = epoch + 1 == settings.epochs
        if last or (epoch + 1) % settings.validate_every == 0:
            progress.epochs[-1]["val"] = validation(embed(clip, data[1], device=device, workers=workers))
        if last if settings.select == "last" else _is_best(progress.epochs):
            progress.best = {name: p.detach().clone() for name, p in trained.items()}
            progress.selected_epoch = epoch + 1
        save()
        report(progress.epochs)
    return progress.best, progress


def _remaining(split: Split, progress: Progress, *, settings: Train, seed: int) -> Iterator[np.ndarray]:
    """The captions of every batch from the next step on, to the end of the last epoch: order follows from (seed, epoch) alone."""
    first = progress.part.get("steps", 0)
    for epoch in range(len(progress.epochs), settings.epochs):
        yield from itertools.islice(order(split, settings=settings, seed=seed, epoch=epoch), first, None)
        first = 0


def _epoch(
    clip: FrozenClip,
    split: Split,
    source: tuple[Stream, Iterator[Pairs]],
    optimiser: torch.optim.Optimizer,
    *,
    epoch: int,
    steps: int,
    settings: Train,
    progress: Progress,
    save: Callable[[int], None],
) -> None:
    """The rest of an epoch of `steps` steps; its line is the last of `progress.epochs` then."""
    clip.train()
    (stream, batches), trained = source, clip.trained()
    part = progress.part = progress.part or {"steps": 0, "loss": torch.zeros(()), "videos": 0, "seconds": 0.0, "waited": 0.0}
    total, start = part["loss"].to(clip.mean.device), time.perf_counter() - part["seconds"]
    waited = stream.waited - part["waited"]
    for number in range(part["steps"], steps):
        batch, step = next(batches), epoch * steps + number
        optim.set_rate(optimiser, optim.rate(step, steps=settings.epochs * steps, train=settings))
        # The second step: from then on the optimiser holds its state.
        wanted = step == min(1, settings.epochs * steps - 1)
        with cost.measure_step(clip, optimiser, device=stream.device, wanted=wanted) as used:
            loss = batch_loss(clip, split, batch, precision=settings.precision)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        progress.step_bytes = max(progress.step_bytes, used.bytes)
        for name, parameter in trained.items():
            if parameter.grad is not None:
                progress.alive[name] |= parameter.grad != 0
        optim.clip_gradients(trained.values(), settings.clip_norm, gain=settings.gradient_gain)
        optimiser.step()
        clip.limit_logit_scale()
        total = total + loss.detach()
        part |= {"steps": number + 1, "loss": total, "videos": part["videos"] + len(batch.ids)}
        part |= {"seconds": time.perf_counter() - start, "waited": stream.waited - waited}
        if number + 1 < steps:
            save(number + 1)
    mean = float(total) / steps
    if not math.isfinite(mean):
        raise NotANumber(
            f"the loss of epoch {epoch + 1} is {mean}; lower lr ({settings.lr}) or clip_lr ({settings.clip_lr}) in params.yaml"
        )
    line = {"epoch": epoch + 1, "loss": mean, "lr": optimiser.param_groups[0]["lr"]}
    progress.epochs.append(line | {key: part[key] for key in ("seconds", "waited", "videos")} | {"val": None})
    progress.part = {}


def batch_loss(clip: FrozenClip, split: Split, batch: Pairs, *, precision: str) -> Tensor:
    """The loss of some captions and their videos."""
    with torch.autocast(batch.mask.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        features, texts = split.encode_videos(clip, batch), split.encode_texts(clip, batch)
    # Normalisation and softmax need float32 even when the towers do not.
    similarities = scores(texts.float(), features.float(), mask=batch.mask, temperature=clip.query_temperature)
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
                "random": torch.get_rng_state(),
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
    torch.set_rng_state(stored["random"].cpu())
    return Progress(**stored["progress"])
