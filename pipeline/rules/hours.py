"""GPU hours that a plan is going to take: work is counted, what a GPU gets done of it in a second is assumed. docs/plan.md says more.

A training is pairs x epochs x (forward, the same back, and once more where most of CLIP is trained) of the blocks above the store that it
reads, or the time to read the store, whichever is longer; besides, the other splits once. A store is written once for all runs. Only
CLIP's own work is counted, not that of a method.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import datasets
from pipeline.config.resolve import annotate, seeds_of, train_of
from pipeline.config.schema import Params
from pipeline.core import layout
from pipeline.core.formatting import count, size
from pipeline.rules.doctor import disk
from pipeline.rules.doctor.line import Case
from pipeline.rules.plan import Choice
from pipeline.rules.towers import architecture, vision_of, work

LEAST = 0.01  # of a pass above a store of features: a norm, a projection, a head


@dataclass(frozen=True)
class Speed:
    """Of a GPU, assumed: multiply-accumulates in a second (5 x 10^12 is about half of an A100's peak in float32), bytes that a job reads in
    a second, and seconds before a job computes."""

    work: float = 5e12
    read: float = 1e9
    start: float = 60.0


@dataclass(frozen=True)
class Job:
    """A piece of work for one GPU: its rule, its main output, its hours, and the store that it waits for, "" for none."""

    rule: str
    path: str
    hours: float
    after: str = ""


@dataclass(frozen=True)
class _Data:
    """A dataset: videos by split, pairs of an epoch, and multiply-accumulates of a video and of a caption."""

    name: str
    videos: dict[str, int]
    pairs: int
    video: float
    caption: float


def jobs(case: Case, params: Params, *, made: Callable[[str], bool], speed: Speed = Speed()) -> list[Job]:
    """The stores and trainings that are not there yet: `made` says of an output whether it is going to be made."""
    found: dict[str, Job] = {}
    for dataset in params.run.datasets:
        for run in params.run.methods:
            choice = case.choices.get((run, dataset), Choice(layout.FRAMES, layout.CAPTIONS))
            of_run = _of_run(params, run, choice, data=_data(case, params, dataset, run), speed=speed)
            found |= {job.path: job for job in of_run if made(job.path)}
    return list(found.values())


def makespan(jobs: Sequence[Job], *, gpus: int) -> float:
    """Hours until all is done, the longest first, on equal GPUs: stores, then what reads them."""
    free, ready = [0.0] * gpus, dict[str, float]()
    for job in sorted(jobs, key=lambda job: (job.rule != "features", job.rule == "train", -job.hours)):
        end = max(heapq.heappop(free), ready.get(job.after, 0.0)) + job.hours
        heapq.heappush(free, end)
        ready[job.path] = end
    return max(free)


def told(jobs: Sequence[Job], parts: Sequence[disk.Part], *, gpus: int = 1, speed: Speed = Speed()) -> str:
    """The plan in two sentences, each a line."""
    number = {rule: sum(job.rule == rule for job in jobs) for rule in ("train", "rates", "features")}
    words = f"trainings {number['train']}, searches of rates {number['rates']}, stores of CLIP's blocks {number['features']}"
    total, wall = sum(job.hours for job in jobs), f", {makespan(jobs, gpus=gpus):.1f} on {gpus} GPUs" if gpus > 1 else ""
    return (
        f"Plan: {words}: {total:.1f} GPU hours{wall} at {count(speed.work)} multiply-accumulates a second, assumed.\n"
        f"Plan: {size(sum(part.bytes for part in parts))} of disk at most."
    )


def _data(case: Case, params: Params, dataset: str, run: str) -> _Data:
    """Where nobody has published the size of a split, all videos are taken for trained ones."""
    entry = params.datasets[dataset]
    told = datasets.load(dataset, entry).expected(annotate(params, dataset))
    videos = {split: next(filter(None, told.get(split, ())), 0) for split in layout.SPLITS}
    if not videos["train"]:
        videos |= {"train": case.counts.get(dataset, 0)}
    captions = told.get("train", (None, None))[1] or disk.CAPTIONS * videos["train"]
    pairs = captions if train_of(params, run, dataset).captions == "all" else videos["train"]
    shape = architecture(params.backbone.name)
    return _Data(dataset, videos, pairs, *work(shape, frames=entry.frames.number, words=entry.words))


def _of_run(params: Params, run: str, choice: Choice, *, data: _Data, speed: Speed) -> list[Job]:
    backbone, seeds = params.backbone.name, seeds_of(params, run)
    stores = list(_stores(params, choice, data=data, speed=speed))

    def training(rule: str, path: str, epochs: int) -> Job:
        return Job(rule, path, _hours(params, choice, data=data, epochs=epochs, speed=speed), stores[0].path if stores else "")

    searched = params.search.epochs * len(params.search.gains)
    searches = [training("rates", f"{layout.run(data.name, backbone, run, '')}search.json", searched)] if searched else []
    epochs = train_of(params, run, data.name).epochs
    paths = [f"{layout.run(data.name, backbone, run, seed)}/adapter.safetensors" for seed in seeds]
    return [*stores, *searches, *(training("train", path, epochs) for path in paths)]


def _stores(params: Params, choice: Choice, *, data: _Data, speed: Speed) -> Iterator[Job]:
    """Of what the vision tower's blocks make, by split, the largest first."""
    for split in layout.SPLITS:
        word = choice.of(split).video
        if word not in layout.RAW["vision"]:
            path = layout.store(layout.split(data.name, split), word, tower="vision", backbone=params.backbone.name)
            computed = data.videos[split] * data.video * _reach(params, word) / speed.work
            yield Job("features", path, (computed + speed.start) / 3600)


def _hours(params: Params, choice: Choice, *, data: _Data, epochs: int, speed: Speed) -> float:
    seen, once = epochs * data.pairs * choice.trained, data.videos["val"] + data.videos["test"]
    above = max(1 - _reach(params, choice.video), LEAST) * data.video + data.caption
    computed = (seen * (3 if choice.whole else 2) + once) * above / speed.work
    read = (seen + once) * disk.video_part(params, data.name, choice.video) / speed.read
    return (max(computed, read) + speed.start) / 3600


def _reach(params: Params, word: str) -> float:
    """The share of the vision tower's blocks whose work a store holds."""
    if word in layout.RAW["vision"]:
        return 0.0
    layers: Any = vision_of(architecture(params.backbone.name)).get("layers", 0)
    return 1.0 if word == layout.FEATURES else int(word) / layers
