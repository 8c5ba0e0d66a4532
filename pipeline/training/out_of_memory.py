"""Advice for when the memory of a training step runs out."""

from contextlib import AbstractContextManager

import torch

from pipeline.config.schema import Train
from pipeline.runtime import explained as refusals
from pipeline.runtime.device import precision


def explained(*, settings: Train, rows: int, device: torch.device, where: str) -> AbstractContextManager[None]:
    """`runtime.explained` with the advice for a step. `rows`: of a process's batch."""
    return refusals.explained(device=device, where=where, advice=advice(settings, rows=rows, device=device))


def advice(settings: Train, *, rows: int, device: torch.device) -> str:
    """Settings that make a step smaller with the same result: never the batch, whose pairs are each other's negatives."""
    now = min(settings.chunk or rows, rows)
    steps = []
    if now > 1:
        steps.append(f"chunk: {now // 2} (now {now} pairs at once)")
    if not settings.checkpointing:
        steps.append("checkpointing: true")
    if precision(settings.precision, device) == "float32" and not steps:
        steps.append("precision: bfloat16")
    return f"set train.{' or '.join(steps)}; the batch stays {settings.batch}" if steps else "this method needs a larger machine"
