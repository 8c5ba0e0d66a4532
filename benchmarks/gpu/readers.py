"""Videos a second from a frames.h5 onto the device, and through `embed`."""

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
from benchmarks.gpu.part import Part, seconds
from pipeline.clip import FrozenClip, build
from pipeline.cost.measure import wait
from pipeline.evaluation.embed import embed
from pipeline.inputs.frames import FrameStore
from pipeline.inputs.writer import Column, Writer, write
from pipeline.methods import Shape
from pipeline.runtime import memory
from pipeline.runtime.loader import Stream

WORKERS = (-1, 0, 2, 4, 8)  # -1: as the product chooses
SEEN = ((towers.LARGE, towers.MANY), ("ViT-L-14-quickgelu", Shape(num_frames=64, num_words=64)))
VIDEOS = 64


def loader(part: Part) -> None:
    videos, batch, size = (32, 8, 64) if part.small else (384, 128, 224)
    with tempfile.TemporaryDirectory() as folder:
        store = _stored(Path(folder) / "frames.h5", videos=videos, size=size)
        part.found["videos_per_second"] = found = {}
        for workers in part.items(WORKERS[:3] if part.small else WORKERS, least=2):
            with part.guarded(f"{workers} workers"):
                found[str(workers)] = round(_rate(part, store, workers=workers, batch=batch), 1)
        part.say(f"videos/s from frames.h5 to {part.device} by workers: {found}")
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

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        write(writer, rows(), label="frames")
    return FrameStore(target)


def _rate(part: Part, store: FrameStore, *, workers: int, batch: int) -> float:
    """After the first batch, which waits for the processes to start."""
    rng = np.random.default_rng(0)
    wanted = [rng.permutation(len(store))[:batch] for _ in range(6 + max(workers, 0))]
    stream = iter(Stream(lambda rows: store.batch(rows.tolist()), wanted, device=part.device, workers=workers))
    next(stream)
    start, seen = time.perf_counter(), 0
    for videos in stream:
        seen += len(videos.seen)
    wait(part.device)
    return seen / (time.perf_counter() - start)


def embedding(part: Part) -> None:
    """Rate and peak of `embed`, which chooses how many videos go through the tower at once."""
    shapes = ((towers.SMALL, towers.FEW),) if part.small else SEEN
    for backbone, shape in part.items(shapes, least=8):
        with part.guarded(f"{backbone} x {shape.num_frames}"):
            found = part.found[f"{backbone} x {shape.num_frames}"] = _embedding(part, backbone, shape)
            part.say(f"{backbone} x {shape.num_frames}: {found}")
            if found.get("peak_share", 0) > 100 * 2 * memory.SHARE:
                part.fail(f"{backbone}: embedding takes {found['peak_share']} % of the memory; it is to take {100 * memory.SHARE:.0f}")
        if part.device.type == "cuda":
            torch.cuda.empty_cache()


def _embedding(part: Part, backbone: str, shape: Shape) -> dict[str, Any]:
    clip = FrozenClip(build(backbone), name=backbone).to(part.device)
    split = towers.noise(clip, shape, videos=VIDEOS)
    split.directed[:] = False
    if part.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(part.device)
    taken = seconds(lambda: embed(clip, split, device=part.device), part.device, repeats=1)
    found = {"videos_per_second": round(VIDEOS / taken, 1)}
    if part.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(part.device)
        whole = torch.cuda.get_device_properties(part.device).total_memory
        found |= {"peak_gb": round(peak / 1e9, 2), "peak_share": round(100 * peak / whole, 1)}
    return found
