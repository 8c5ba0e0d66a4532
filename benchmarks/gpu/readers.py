"""Videos a second: from a frames.h5 onto the device, and through `embed`."""

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.cost.measure import wait
from pipeline.evaluation.embed import embed
from pipeline.inputs.frames import FrameStore
from pipeline.inputs.writer import Column, Writer, write
from pipeline.methods import Shape
from pipeline.runtime import device
from pipeline.runtime.loader import Stream, ahead

WORKERS = (0, 2, 4, 8)
STORED, BATCH, SIZE = (384, 48), (128, 8), (224, 64)  # videos, videos at once, pixels; the second: in small
SEEN = ((towers.LARGE, towers.MANY), ("ViT-L-14-quickgelu", Shape(num_frames=64, num_words=64)))
VIDEOS = 64


def loader(part: Part) -> None:
    """By the number of processes that read ahead."""
    chosen = 0 if part.small else ahead()
    part.facts = {
        "workers of machine.workers: -1": chosen,
        "frames": towers.MANY.num_frames,
        "pixels": SIZE[part.small],
        "batch": BATCH[part.small],
    }
    with tempfile.TemporaryDirectory() as folder:
        store = _stored(Path(folder) / "frames.h5", videos=STORED[part.small], size=SIZE[part.small])
        try:
            part.each(sorted({*WORKERS[: 2 if part.small else None], chosen}), lambda workers: _read(part, store, workers))
        finally:
            store.close()


def _stored(target: Path, *, videos: int, size: int) -> FrameStore:
    """Noise, each video the same."""
    number = towers.MANY.num_frames
    columns = {
        "frames": Column((number, 3, size, size), "u1"),
        "index": Column((number,), "i4", small=True),
        "mask": Column((number,), "?", small=True),
    }
    attrs = {"grid": "centres", "number": number, "size": size}
    writer = Writer(target, ids=[f"v{row}" for row in range(videos)], columns=columns, attrs=attrs, made_from=[])
    noise = np.random.default_rng(0).integers(0, 256, (1, number, 3, size, size), dtype=np.uint8)

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for _ in range(videos):
            yield {"frames": noise, "index": np.zeros((1, number), np.int32), "mask": np.ones((1, number), bool)}

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # its bar
        write(writer, rows(), label="frames")
    return FrameStore(target)


def _read(part: Part, store: FrameStore, workers: int) -> dict[str, Any]:
    """After the first batch, which waits for the processes to start."""
    rng, seen = np.random.default_rng(0), 0
    wanted = [rng.permutation(len(store))[: BATCH[part.small]] for _ in range(6 + workers)]
    stream = iter(Stream(lambda rows: store.batch(rows.tolist()), wanted, device=part.device, workers=workers))
    next(stream)
    start = time.perf_counter()
    for videos in stream:
        seen += len(videos.seen)
    wait(part.device)
    return {"workers": workers, "videos/s": round(seen / (time.perf_counter() - start), 1)}


def embedding(part: Part) -> None:
    """Of plain CLIPs, in the precision that `auto` is on the device; `embed` chooses how many videos go through the tower at once."""
    shapes = ((towers.SMALL, towers.FEW),) if part.small else SEEN
    part.facts = {"precision": device.precision("auto", part.device), "videos": VIDEOS}
    part.each(shapes, lambda seen: _embedded(part, *seen), title=lambda seen: seen[0])


def _embedded(part: Part, backbone: str, shape: Shape) -> dict[str, Any]:
    clip = towers.plain(backbone).to(part.device)
    clip.compute_in(part.facts["precision"])
    split = towers.noise(clip, shape, videos=VIDEOS)
    split.directed[:] = False  # no video is read a second time
    embed(clip, split, device=part.device)
    if part.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(part.device)
    start = time.perf_counter()
    made = embed(clip, split, device=part.device)
    rate = VIDEOS / (time.perf_counter() - start)
    assert np.isfinite(made.video).all() and np.isfinite(made.text).all(), "a vector is not finite"
    peak = round(torch.cuda.max_memory_allocated(part.device) / 1e9, 2) if part.device.type == "cuda" else None
    return {"backbone": towers.called(backbone), "frames": shape.num_frames, "videos/s": round(rate, 1), "peak GB": peak}
