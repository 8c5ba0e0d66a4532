"""Disk that a plan is going to take, estimated from params.yaml: what is not there yet, and rather too much.

Frames and tokens are not compressed, so their sizes are exact (docs/caches.md); the number of captions, the length of videos and the
size of clips and raw files are typical ones, and files of runs are bounds: an adapter is taken for a tenth of CLIP, or for all of it
where its run trains most of CLIP or, before that is known, sets `clip_lr`. Pages, tables and logs are not counted.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import datasets
from pipeline.config.resolve import annotate, read, seeds_of
from pipeline.config.schema import Params
from pipeline.core import layout
from pipeline.core.formatting import size
from pipeline.rules.doctor.line import FINE, WARNING, Case, Line, near
from pipeline.rules.plan import Choice
from pipeline.rules.towers import architecture, parameters, text_of, vision_of

# Seconds of a typical video, and bytes a second of the raw files that stay; those fetched one by one do not.
TYPICAL = {
    "motion": (2.2, 11e3),
    "msrvtt": (15, 50e3),
    "msvd": (10, 90e3),
    "lsmdc": (5, 0),
    "didemo": (30, 0),
    "activitynet": (118, 0),
    "rtime": (20, 0),
    "vatex": (10, 0),
}
UNKNOWN = (30.0, 0.0)  # of your own videos, which stay where they are
PIXEL = 0.1  # bytes of a clip for each pixel of each of its frames; the simple pictures of `motion` take 0.02
CAPTIONS = 5  # of a video, where the publisher's number is not known
STATES = 6  # adapters that the state of a training is as large as: weights and two moments, each twice
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Part:
    """Bytes that are going to be written below a path."""

    path: Path
    bytes: float


def disk(case: Case) -> Iterator[Line]:
    """Free disk where data, work and runs lie against what is planned there: a line for each file system."""
    if case.params is None:
        return
    sums = dict[int, float]()
    names = dict[int, dict[str, Path]]()
    for part in planned(case, case.params):
        place = near(part.path)
        device = place.stat().st_dev
        sums[device] = sums.get(device, 0) + part.bytes
        names.setdefault(device, {})[part.path.parts[0]] = place
    for device, needed in sums.items():
        place = next(iter(names[device].values()))
        free, where = shutil.disk_usage(place).free, ", ".join(names[device])
        said = f"{where}: about {size(needed)} more at most, and {size(free)} free on the file system of {place}"
        remedy = "make room, link the folder to a larger disk, or store less (docs/caches.md)"
        yield Line("disk", WARNING if needed > free else FINE, f"{said}; {remedy}" if needed > free else said)


def planned(case: Case, params: Params) -> Iterator[Part]:
    """The raw files, clips, frames, stores and runs that are not there yet."""
    for name in read(params):
        entry, videos = params.datasets[name], case.counts.get(name, 0)
        seconds, raw = TYPICAL.get(name, UNKNOWN)
        if case.may_run("download"):
            yield _left(Path(layout.raw(name)), 0 if entry.videos or entry.captions else videos * seconds * raw)
        if case.may_run("transcode"):
            length = min(seconds, entry.clips.seconds or seconds)
            yield _left(Path(layout.clips(name)), videos * length * entry.clips.fps * entry.clips.short_side**2 * 16 / 9 * PIXEL)
        yield from _stores(case, params, name, videos=videos)
    yield from _runs(case, params)


def _left(path: Path, total: float) -> Part:
    """A folder that is there is taken to be whole."""
    return Part(path, 0 if path.is_dir() and any(path.iterdir()) else total)


def _stores(case: Case, params: Params, name: str, *, videos: int) -> Iterator[Part]:
    chosen = {case.choices.get((run, name), Choice(layout.FRAMES, layout.CAPTIONS)) for run in params.run.methods}
    lines = captions(params, name, videos=videos)
    for tower, word in sorted({("vision", c.video) for c in chosen} | {("text", c.text) for c in chosen}):
        if word in (layout.CLIPS, layout.CAPTIONS) or not case.may_run("frames" if word == layout.FRAMES else "features"):
            continue
        files = [Path(layout.store(layout.split(name, split), word, tower=tower, backbone=params.backbone.name)) for split in layout.SPLITS]
        total = videos * video_part(params, name, word) if tower == "vision" else lines * _text_part(params, name, word)
        there = sum(file.stat().st_size for file in files if file.is_file())
        yield Part(files[0], max(0.0, total - there) if not all(file.is_file() for file in files) else 0)


def captions(params: Params, name: str, *, videos: int) -> int:
    """Captions of all splits, as the publisher counts them."""
    told = datasets.load(name, params.datasets[name]).expected(annotate(params, name))
    return sum(count for _, count in told.values() if count) or CAPTIONS * videos


def _runs(case: Case, params: Params) -> Iterator[Part]:
    if not case.may_run("train"):
        return
    whole, waiting = 4 * parameters(architecture(params.backbone.name)), False
    for name in params.run.datasets:
        for run in params.run.methods:
            chosen = case.choices.get((run, name))
            trained = chosen.whole if chosen else "clip_lr" in params.methods[run].train
            adapter = whole if trained else whole / 10
            for seed in seeds_of(params, run):
                file = Path(layout.run(name, params.backbone.name, run, seed), "adapter.safetensors")
                waiting |= not file.exists()
                yield Part(file, 0 if file.exists() else adapter)
    # Of one training at a time: its state goes when it ends.
    yield Part(Path(layout.RUNS), STATES * whole * waiting)


def video_part(params: Params, dataset: str, word: str) -> float:
    """Bytes of one video in a store: uint8 frames, tokens after some blocks, or float32 CLS tokens and features after the last one."""
    frames = params.datasets[dataset].frames
    if word in (layout.FRAMES, layout.CLIPS):
        return frames.number * 3 * frames.size**2
    vision = vision_of(architecture(params.backbone.name))
    if word == layout.FEATURES or int(word) >= vision.get("layers", 0):
        return float(frames.number * 4 * vision.get("width", 0))
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + vision.get("cls", 1)
    return float(frames.number * tokens * vision["width"] * BYTES[params.cache.dtype])


def _text_part(params: Params, dataset: str, word: str) -> float:
    text = text_of(architecture(params.backbone.name))
    width = text.get("width", 0)
    if word == layout.FEATURES or int(word) >= text.get("layers", 0):
        return float(4 * width)
    return float(params.datasets[dataset].words * width * BYTES[params.cache.dtype])
