"""Advice for when memory runs out, in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.config.schema import Train
from pipeline.core.formatting import size

# Of torch's allocators on a GPU and on a CPU.
NEEDED = re.compile(r"[Tt]ried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "bytes": 1}


class OutOfMemory(ValueError):
    """A step that does not fit."""


@contextmanager
def explained(*, settings: Train, rows: int, device: torch.device, where: str) -> Iterator[None]:
    """Turn the end of memory in the block into OutOfMemory: how much more was needed, and what to change. `rows`: of a process's batch."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it has no class of its own
        found = NEEDED.search(str(error))
        if not found:
            raise
        needed = float(found[1]) * UNITS[found[2]]
        raise OutOfMemory(
            f"out of memory on {device} in {where}: {size(needed)} more were needed{_held(device)}; {advice(settings, rows=rows)}"
        ) from error


def advice(settings: Train, *, rows: int) -> str:
    """Settings that make a step smaller with the same result: never the batch, whose pairs are each other's negatives."""
    now = min(settings.chunk or rows, rows)
    steps = []
    if now > 1:
        steps.append(f"chunk: {now // 2} (now {now} pairs at once)")
    if not settings.checkpointing:
        steps.append("checkpointing: true")
    if settings.precision == "float32" and not steps:
        steps.append("precision: bfloat16")
    return f"set train.{' or '.join(steps)}; the batch stays {settings.batch}" if steps else "this method needs a larger machine"


def _held(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f", {size(total - free)} of {size(total)} are in use"
