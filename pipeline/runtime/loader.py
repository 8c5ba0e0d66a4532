"""Batches from the disk to the device, read ahead by worker processes. The caller says what is read, and in which order."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from pipeline.runtime.distributed import processes_here
from pipeline.runtime.processes import LIMIT, in_order

Batch = TypeVar("Batch", bound=tuple[Tensor | None, ...])
READERS = 6  # as many as a job asks a cluster for (rules/resources.py)


class Stream:
    """The batches of `fetch` for each array of rows in `wanted`, in that order, on a device. `waited`: seconds the caller stood still.

    With workers, rows are fetched in processes of their own, which open their files themselves. -1 workers are `ahead` on a GPU, and none
    on a CPU, where they would take the cores that train. A GPU is sent a batch while it computes the one before. Without `move` the
    batches stay in (pinned) memory, and the caller moves what it needs. An error in a fetch is raised here, once its batch is due.
    Stopped if a worker dies, or a batch takes `limit` seconds.
    """

    def __init__(
        self,
        fetch: Callable[[np.ndarray], Batch],
        wanted: Iterable[np.ndarray],
        *,
        device: torch.device,
        workers: int = -1,
        move: bool = True,
        limit: float = LIMIT,
    ) -> None:
        self.device, self.waited, self._move = device, 0.0, move
        self._fetch, self._wanted, self._limit, self._owner = fetch, wanted, limit, os.getpid()
        self._workers = (ahead() if device.type == "cuda" else 0) if workers < 0 else workers
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" and move else None

    def __iter__(self) -> Iterator[Any]:
        batches = in_order(self._packed, self._wanted, workers=self._workers, land=self._landed, limit=self._limit)
        try:
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - start
                if batch is None:
                    return
                yield self._moved(batch) if self._move else batch
        finally:
            batches.close()  # now, and not when the traceback of an error is collected

    def _moved(self, batch: Any) -> Any:
        """The batch on the device. Its copies do not wait for what the GPU still has to compute; what uses them waits for the copies."""
        if self._copies is None:
            return _like(type(batch), [None if part is None else part.to(self.device) for part in batch])
        with torch.cuda.stream(self._copies):
            moved = [None if part is None else part.to(self.device, non_blocking=True) for part in batch]
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        for part in moved:
            if part is not None:
                part.record_stream(computing)  # its memory is another stream's, which must not take it back too early
        return _like(type(batch), moved)

    def _packed(self, rows: np.ndarray) -> tuple[type, list["_Packed | None"]]:
        if os.getpid() != self._owner:
            torch.set_num_threads(1)  # the threads of this process's parent are not there
        batch = self._fetch(rows)
        return type(batch), [None if part is None else _pack(part) for part in batch]

    def _landed(self, packed: tuple[type, list["_Packed | None"]]) -> Any:
        kind, parts = packed
        tensors = [None if part is None else _unpack(part) for part in parts]
        if self.device.type == "cuda":
            if self.device.index is not None:
                torch.cuda.set_device(self.device)  # a thread begins with the first
            tensors = [None if tensor is None else tensor.pin_memory() for tensor in tensors]
        return _like(kind, tensors)


def ahead() -> int:
    """Processes that read ahead for a GPU: its share of this process's cores but for one, at most READERS."""
    return max(1, min(READERS, len(os.sched_getaffinity(0)) // processes_here() - 1))


def _like(kind: type, parts: list[Tensor | None]) -> Any:
    """A named tuple, or a tuple."""
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


class _Packed(NamedTuple):
    """A tensor as an array of bytes, which processes hand on as it is; tensors would go through shared memory."""

    bytes: np.ndarray
    dtype: torch.dtype
    shape: torch.Size


def _pack(tensor: Tensor) -> _Packed:
    return _Packed(tensor.contiguous().reshape(-1).view(torch.uint8).numpy(), tensor.dtype, tensor.shape)


def _unpack(packed: _Packed) -> Tensor:
    if not packed.bytes.size:  # which torch views as nothing else
        return torch.empty(packed.shape, dtype=packed.dtype)
    return torch.from_numpy(packed.bytes).view(packed.dtype).reshape(packed.shape)
