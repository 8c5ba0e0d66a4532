"""Errors of torch where a device cannot do its work, in one sentence: memory ends, or no kernel gives the same bits."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.core.formatting import size

# Of torch's allocators on a GPU and on a CPU.
NEEDED = re.compile(r"[Tt]ried to allocate ([\d.]+) (GiB|MiB|KiB|bytes)")
UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "bytes": 1}
UNREPEATABLE = re.compile(r"^(.+?) does not have a deterministic implementation")
ELSEWHERE = "take a device that nothing else holds, or device: cpu"  # where no setting makes a pass smaller


class OutOfMemory(ValueError):
    """A computation that does not fit."""


@contextmanager
def explained(*, device: torch.device, where: str, advice: str = ELSEWHERE) -> Iterator[None]:
    """Turn the end of memory in the block into OutOfMemory: how much more was needed, and the `advice`.

    ValueError names an operation that has no deterministic kernel, where `deterministic: true` asks for one.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it has no class of its own
        if found := NEEDED.search(str(error)):
            needed = float(found[1]) * UNITS[found[2]]
            raise OutOfMemory(f"out of memory on {device} in {where}: {size(needed)} more were needed{_held(device)}; {advice}") from error
        if found := UNREPEATABLE.search(str(error)):
            raise ValueError(
                f"{found[1]} in {where} has no kernel on {device} that gives the same bits each time; set train.deterministic: false"
            ) from error
        raise


def _held(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f", {size(total - free)} of {size(total)} are in use"
