"""Train what a method attached: contrastive loss, one epoch after the other, resumable to the bit."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.config.schema import Train
from pipeline.cost import measure
from pipeline.evaluation.embed import embed
from pipeline.evaluation.ranks import NotANumber
from pipeline.evaluation.validation import validation
from pipeline.inputs.split import Pairs, Split
from pipeline.runtime.distributed import ALONE, Team
from pipeline.runtime.loader import Stream
from pipeline.runtime.signals import Stopped, listening
from pipeline.training import optim, step
from pipeline.training.out_of_memory import explained
from pipeline.training.state import State

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Progress of a training after some steps. `alive` marks the entries of each trained tensor that ever received a gradient.

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
    team: Team = ALONE,
) -> tuple[Tensors, Progress]:
    """Train on data[0], validate on data[1]; returns the selected tensors and the history, the same in every process of a `team`.

    `state` is rewritten after every epoch, and every `save_every` steps if that is not 0; `report` is called with all epochs so far
    after every epoch. A `state` with the same `fingerprint` is continued from its last step and gives the same bits; another one is
    refused. `workers` as in `loader.Stream`. Raises Stopped between two steps once a signal of `stopping` has come, with all saved.
    """
    trained = clip.trained()
    clip.checkpointing(settings.checkpointing)
    progress = Progress(alive={name: torch.zeros_like(p, dtype=torch.bool) for name, p in trained.items()})
    if not trained:
        return {}, progress
    optimiser = optim.build(trained, train=settings, half_names=optim.half_names(clip))
    work = step.prepare(clip, data[0], settings=settings, team=team, device=device)
    saved = State(state, fingerprint, trained, optimiser, work.scaler, device)
    exists = saved.exists()
    if team.any(exists) != exists:
        raise ValueError(
            f"process {team.rank} does not see {state}, which another sees; start again when the file system has it everywhere"
        )
    if exists:
        progress = Progress(**saved.restore())
        if team.first:
            report(progress.epochs)
    first = list(order(data[0], settings=settings, seed=seed, epoch=0))
    if len(first[0]) < team.size:
        raise ValueError(f"a batch of {len(first[0])} pairs cannot be shared by {team.size} processes; use fewer")
    wanted = (team.share(rows) for rows in _remaining(data[0], progress, settings=settings, seed=seed))
    stream = Stream(data[0].pairs, wanted, device=device, workers=workers, move=not settings.chunk)
    run = _Run(clip, work, stream, iter(stream), optimiser, settings, progress, steps=len(first), pairs=len(first[0]))
    with listening() as warned:

        def between(number: int = 0) -> None:
            """After step `number` of an epoch, or its end: save if it is due, stop if it is wanted."""
            stop = bool(number) and team.any(bool(warned))
            if team.first and (stop or not number or (save_every and number % save_every == 0)):
                saved.save(vars(progress))
            if stop:
                team.any(True)  # until the first process has written it: torchrun ends all once one has ended
                place = f"step {number} of epoch {len(progress.epochs) + 1}"
                raise Stopped(f"stopped by {warned.by or 'another process'} after {place}; {state} has it")

        for epoch in range(len(progress.epochs), settings.epochs):
            run.epoch(epoch, between=between)
            last = epoch + 1 == settings.epochs
            if last or (epoch + 1) % settings.validate_every == 0:
                progress.epochs[-1]["val"] = validation(
                    embed(clip, data[1], device=device, workers=workers, team=team, chunk=settings.chunk)
                )
            if last if settings.select == "last" else _is_best(progress.epochs):
                progress.best = {name: p.detach().clone() for name, p in trained.items()}
                progress.selected_epoch = epoch + 1
            between()
            if team.first:
                report(progress.epochs)
    # Selected values over the tensors of now, of which only the frozen ones stay.
    return clip.stored() | progress.best, progress


def _remaining(split: Split, progress: Progress, *, settings: Train, seed: int) -> Iterator[np.ndarray]:
    """The captions of every batch from the next step on, to the end of the last epoch: order follows from (seed, epoch) alone."""
    first = progress.part.get("steps", 0)
    for epoch in range(len(progress.epochs), settings.epochs):
        yield from itertools.islice(order(split, settings=settings, seed=seed, epoch=epoch), first, None)
        first = 0


@dataclass
class _Run:
    """The parts of a training that every epoch needs. An epoch is `steps` steps of `pairs` pairs."""

    clip: FrozenClip
    work: step.Step
    stream: Stream
    batches: Iterator[Pairs]
    optimiser: torch.optim.Optimizer
    settings: Train
    progress: Progress
    steps: int
    pairs: int

    def epoch(self, epoch: int, *, between: Callable[[int], None]) -> None:
        """The rest of an epoch; its line is the last of `progress.epochs` then. `between` is called after each step but the last."""
        self.clip.train()
        progress, stream, steps = self.progress, self.stream, self.steps
        part = progress.part = progress.part or {"steps": 0, "loss": torch.zeros(()), "videos": 0, "seconds": 0.0, "waited": 0.0}
        total, start = part["loss"].to(stream.device), time.perf_counter() - part["seconds"]
        waited = stream.waited - part["waited"]
        for number in range(part["steps"], steps):
            batch, where = next(self.batches), f"step {number + 1} of epoch {epoch + 1}"
            with explained(settings=self.settings, rows=len(batch.ids), device=stream.device, where=where):
                total = total + self.step(batch, epoch * steps + number)
            part |= {"steps": number + 1, "loss": total, "videos": part["videos"] + self.pairs}
            part |= {"seconds": time.perf_counter() - start, "waited": stream.waited - waited}
            if number + 1 < steps:
                between(number + 1)
        mean, settings = float(total) / steps, self.settings
        if not math.isfinite(mean):
            raise NotANumber(
                f"the loss of epoch {epoch + 1} is {mean}; lower lr ({settings.lr}) or clip_lr ({settings.clip_lr}) in params.yaml"
            )
        line = {"epoch": epoch + 1, "loss": mean, "lr": self.optimiser.param_groups[0]["lr"]}
        progress.epochs.append(line | {key: part[key] for key in ("seconds", "waited", "videos")} | {"val": None})
        progress.part = {}

    def step(self, batch: Pairs, number: int) -> Tensor:
        """Step `number` of all; returns the loss."""
        settings, optimiser, scaler, every = self.settings, self.optimiser, self.work.scaler, self.settings.epochs * self.steps
        optim.set_rate(optimiser, optim.rate(number, steps=every, train=settings))
        # The second step: from then on the optimiser holds its state.
        wanted = number == min(1, every - 1)
        with measure.measure_step(self.clip, optimiser, device=self.stream.device, wanted=wanted) as used:
            optimiser.zero_grad(set_to_none=True)
            loss = self.work.backward(batch, total=self.pairs)
        self.progress.step_bytes = max(self.progress.step_bytes, used.bytes)
        scaler.unscale_(optimiser)
        trained = self.clip.trained()
        _mark(self.progress.alive, trained)
        optim.clip_gradients(trained.values(), settings.clip_norm, gain=settings.gradient_gain)
        scaler.step(optimiser)
        scaler.update()
        self.clip.limit_logit_scale()
        return loss


@torch.no_grad()
def _mark(alive: Tensors, trained: Mapping[str, Tensor]) -> None:
    """Mark the entries that have a gradient in this step. All tensors at once: a GPU pays for the start of each kernel."""
    gradients = {name: tensor.grad for name, tensor in trained.items() if tensor.grad is not None}
    masks = [alive[name] for name in gradients]
    received = [torch.empty_like(mask) for mask in masks]
    torch._foreach_copy_(received, list(gradients.values()))  # True for what is not zero
    torch._foreach_add_(masks, received)  # of booleans: or


def order(split: Split, *, settings: Train, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The captions of each batch of an epoch. The last ones, which fill no batch, are left out; each epoch draws anew.

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
