"""Batches from the disk to the device, read ahead by worker processes. What is read, and in which order, is the caller's."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Batch = TypeVar("Batch", bound=tuple[Tensor | None, ...])
AHEAD = 2  # batches that each worker holds ready


class Stream:
    """The batches of `fetch` for each array of rows in `wanted`, in that order, on a device. `waited`: seconds the caller stood still.

    With workers, rows are fetched in processes of their own, which open their files themselves. -1 workers are 2 on a GPU, and none on
    a CPU, where they would take the cores that train. Without `move` the batches stay in (pinned) memory, and the caller moves what
    it needs. What a fetch raises is raised here, once its batch is due.
    """

    def __init__(
        self,
        fetch: Callable[[np.ndarray], Batch],
        wanted: Iterable[np.ndarray],
        *,
        device: torch.device,
        workers: int = -1,
        move: bool = True,
    ) -> None:
        self.device, self.waited, self._move = device, 0.0, move
        gpu = device.type == "cuda"
        number = (2 if gpu else 0) if workers < 0 else workers
        self._loader: DataLoader[Any] = DataLoader(
            _Fetched(fetch),
            batch_size=None,  # a worker makes a whole batch
            sampler=wanted,
            num_workers=number,
            prefetch_factor=AHEAD if number else None,
            pin_memory=gpu,
            generator=torch.Generator(),  # else it would draw from the one that initialises modules
        )

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        try:
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - start
                if batch is None:
                    return
                if isinstance(batch, Exception):
                    raise batch
                if self._move:
                    batch = type(batch)(*(None if part is None else part.to(self.device, non_blocking=True) for part in batch))
                yield batch
        finally:
            # Now, and not when the traceback of an error is collected: its queues may be gone by then, and each worker is waited for.
            del batches


class _Fetched(Dataset[Any]):
    """`fetch` as a dataset. An error becomes an item: a worker would wrap it into its own traceback."""

    def __init__(self, fetch: Callable[[np.ndarray], Any]) -> None:
        self.fetch = fetch

    def __getitem__(self, rows: Any) -> Any:
        try:
            return self.fetch(rows)
        except (ValueError, OSError) as error:
            return error
