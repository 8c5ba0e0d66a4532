"""Training steps of ViT-B/32 and 128 pairs of 12 frames: the same bits twice, time, memory, and the share of the device's GEMM rate."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gemm
from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.clip import FrozenClip
from pipeline.clip.model import TYPES
from pipeline.cost.measure import wait
from pipeline.inputs.split import Split
from pipeline.runtime import device

PAIRS, FEWER = 128, 4  # of a batch, and in small
REPEATS = 3  # timed steps
# Rows and width of a product whose rate is measured, and for how many seconds: a batch's tokens in ViT-B/32, and in small.
PRODUCT = ({"rows": 128 * 12 * 50, "width": 768, "seconds": 1.0}, {"rows": 480, "width": 128, "seconds": 0.2})


def work(part: Part) -> None:
    """Each method in the precision that is usual on the device, then settings of one."""
    backbone, shape, pairs = (towers.SMALL, towers.FEW, FEWER) if part.small else (towers.LARGE, towers.MANY, PAIRS)
    split, rates = towers.noise(towers.plain(backbone), shape, videos=pairs), dict[str, float]()
    part.facts = {"backbone": towers.called(backbone), "frames": shape.num_frames, "pairs": pairs, "GEMM TFLOP/s": rates}

    def row(name: str, settings: dict[str, Any]) -> dict[str, Any]:
        kind = "tf32" if settings.get("tf32") else settings["precision"]
        if kind not in rates:
            rates[kind] = _rate(part, settings)
        found = _fitting(part, lambda: towers.attached(backbone, name, shape=shape, config={}), split, settings)
        if found["same bits"] is False:
            part.fail(f"{towers.label(name, settings)}: the same batch has other gradients")
        share = found.pop("TFLOP") / (found["ms"] / 1e3) / rates[kind]
        return {"training": towers.label(name, settings), **found, "% of GEMM rate": round(100 * share, 1)}

    chosen = towers.trainings(part, _others(pairs))
    part.each(chosen, lambda training: row(*training), title=lambda training: towers.label(*training))


def _others(pairs: int) -> tuple[dict[str, Any], ...]:
    exact = {"precision": "float32"}
    faster = (exact | {"tf32": True}, {"precision": "float16"}, {"deterministic": False}, {"optimiser": "bert_adam"})
    return (exact, *faster, {"chunk": pairs // 2}, {"checkpointing": True})


def _rate(part: Part, settings: Mapping[str, Any]) -> float:
    """TFLOP a second of a product of CLIP's sizes in the types of a training."""
    device.kernels(part.device, tf32=settings.get("tf32", False), deterministic=True)
    return float(f"{gemm.rate(part.device, TYPES[settings['precision']], **PRODUCT[part.small]) / 1e12:.3g}")


def _fitting(part: Part, make: Callable[[], FrozenClip], split: Split, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A training in the largest pieces that fit; `chunk` 0 is all at once, and otherwise the half, a quarter ... of the batch."""
    chunk = settings.get("chunk", 0)
    while True:
        torch.cuda.empty_cache()  # of the row before, or of the batch that was too large
        try:
            return _measured(part, make(), split, {**settings, "chunk": chunk})
        except torch.OutOfMemoryError:
            chunk = (chunk or len(split.store)) // 2
            if not chunk:
                raise


def _measured(part: Part, clip: FrozenClip, split: Split, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a step; its products as torch counts them, what is computed twice included."""
    place, deterministic = part.device, settings.get("deterministic", True)
    device.kernels(place, tf32=settings.get("tf32", False), deterministic=deterministic)
    trained = towers.trainer(clip, split, device=place, settings=settings)
    same = _same(trained) if deterministic else None
    with FlopCounterMode(display=False) as counter:  # type: ignore[no-untyped-call]
        trained.step()
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    seconds = statistics.median([_seconds(trained.step, place) for _ in range(REPEATS + 1)][1:])
    found = {"chunk": settings["chunk"], "ms": round(1e3 * seconds, 1), "videos/s": round(len(split.store) / seconds, 1)}
    peak = round(torch.cuda.max_memory_allocated(place) / 1e9, 2) if place.type == "cuda" else None
    return {**found, "peak GB": peak, "same bits": same, "TFLOP": counter.get_total_flops() / 1e12}


def _same(trained: towers.Trainer) -> bool:
    """Whether a batch has the same gradients twice."""
    one, other = (_gradients(trained) for _ in range(2))
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _gradients(trained: towers.Trainer) -> list[torch.Tensor]:
    trained.backward()
    return [p.grad for p in trained.clip.trained().values() if p.grad is not None]


def _seconds(run: Callable[[], object], place: torch.device) -> float:
    wait(place)
    start = time.perf_counter()
    run()
    wait(place)
    return time.perf_counter() - start
