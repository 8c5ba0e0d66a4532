"""Time, memory and the share of the device's rate of training steps at full size: ViT-B/32, 128 pairs of 12 frames."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part, seconds
from benchmarks.memory import plain
from pipeline import methods
from pipeline.config.schema import Train
from pipeline.core.formatting import aligned
from pipeline.runtime import device
from pipeline.training import memory

HALF = {"precision": "bfloat16"}


@dataclass(frozen=True)
class Row:
    """A training whose step is timed. `expected`: whether its memory is foretold, too, as `python -m pipeline cost` does."""

    name: str
    settings: dict[str, Any] = field(default_factory=lambda: dict(HALF))
    pairs: int = 128
    expected: bool = False

    @property
    def label(self) -> str:
        """Its name and what is not usual."""
        words = [f"{key}: {value}" for key, value in self.settings.items()] or ["float32"]
        return " ".join([self.name, *words, *([f"batch: {self.pairs}"] if self.pairs != 128 else [])])


ROWS = (
    Row("mv_adapter", expected=True),
    Row("full_finetune", expected=True),
    Row("vop"),
    Row("lora"),
    Row("vop_fc", expected=True),
    Row("aim"),
    Row("partial"),
    Row("mv_adapter", HALF | {"chunk": 32}, expected=True),
    Row("mv_adapter", HALF | {"checkpointing": True}, expected=True),
    Row("mv_adapter", HALF | {"optimiser": "bert_adam"}),
    Row("mv_adapter", HALF | {"deterministic": False}),
    Row("mv_adapter", {}, expected=True),
    Row("mv_adapter", {"tf32": True}),
    Row("mv_adapter", pairs=16),  # the share of one of eight GPUs
    Row("mv_adapter", HALF | {"compile": True}),  # last: a compiler may take what is left
)
COLUMNS = ("method", "ms", "videos/s", "% of rate", "peak GB", "foretold GB", "kernels", "idle %", "waits")
KEYS = ("ms", "videos_per_second", "gemm_share", "peak_gb", "expected_gb", "kernels", "idle", "waits")


def work(part: Part) -> None:
    backbone, shape = (towers.SMALL, towers.FEW) if part.small else (towers.LARGE, towers.MANY)
    rows = [row for row in ROWS if not (part.small and "compile" in row.settings) and (not part.names or row.name in part.names)]
    part.found |= {"backbone": backbone, "frames": shape.num_frames, "rows": {}}
    for row in part.items(rows, least=4):
        with part.guarded(row.label):
            part.found["rows"][row.label] = found = _timed(part, backbone, row, shape)
            part.say(f"{row.label}: {found}")
        if part.device.type == "cuda":
            torch.cuda.empty_cache()
    lines = [[label, *("" if found.get(key) is None else str(found[key]) for key in KEYS)] for label, found in part.found["rows"].items()]
    print(aligned([COLUMNS, *lines], left=1), end="")


def _timed(part: Part, backbone: str, row: Row, shape: methods.Shape) -> dict[str, Any]:
    place, pairs = part.device, min(row.pairs, 8) if part.small else row.pairs
    settings = row.settings | ({"chunk": 4} if part.small and "chunk" in row.settings else {})
    values = Train(**settings)
    device.kernels(place, tf32=values.tf32, deterministic=values.deterministic)
    clip = towers.attached(backbone, row.name, shape=shape, place=place)
    split = towers.noise(clip, shape, videos=pairs)
    trained = towers.trainer(clip, split, device=place, settings=settings, videos=pairs)
    flops = _flops(trained)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    taken = seconds(trained.step, place, repeats=3)
    found: dict[str, Any] = {"ms": round(1e3 * taken, 1), "videos_per_second": round(pairs / taken, 1)}
    if rate := part.rates.get(_kind(values)):
        found["gemm_share"] = round(100 * flops / taken / 1e12 / rate, 1)
    if place.type == "cuda":
        found["peak_gb"] = round(torch.cuda.max_memory_allocated(place) / 1e9, 2)
        found |= _profiled(trained)
    if row.expected:
        need = memory.need(partial(plain, backbone), methods.load(row.name, config={}), shape=shape, settings=trained.settings)
        found["expected_gb"] = round(need.peak / 1e9, 2)
    return found


def _kind(values: Train) -> str:
    """Which of the machine's rates a step is compared with."""
    return "bfloat16" if values.precision != "float32" else "tf32" if values.tf32 else "float32"


def _flops(trained: towers.Trainer) -> int:
    """Operations of the matrix products of a step as torch counts them, what is computed twice included."""
    if trained.settings.compile:
        return 0  # torch sees none
    with FlopCounterMode(display=False) as counter:  # type: ignore[no-untyped-call]
        trained.step()
    return int(counter.get_total_flops())


def _profiled(trained: towers.Trainer) -> dict[str, Any]:
    """Kernels of a step, the share of it in which the GPU does nothing, and how often the host waits for it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        start = time.perf_counter()
        trained.step()
        torch.cuda.synchronize()
        taken = time.perf_counter() - start
    events: Any = seen.events()
    kernels = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(event.device_time for event in kernels) / 1e6
    waits = sum(event.name in ("cudaStreamSynchronize", "cudaDeviceSynchronize") for event in events) - 1
    return {"kernels": len(kernels), "idle": round(100 * max(0.0, 1 - busy / taken), 1), "waits": waits}
