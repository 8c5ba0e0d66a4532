"""Memory of a pass without gradients: how many rows may go through a tower at once."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SHARE = 1 / 4  # of a GPU's memory, the rest of which a training may hold
CPU_BYTES = 4e9  # a CPU shares its memory with other jobs; 64 videos of 12 frames take 2.2e9 with ViT-B/32


def budget(device: torch.device) -> float:
    """Bytes that a pass may take, of the whole memory and not of what is free now: a run that is repeated has the same batches and bits."""
    return SHARE * torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else CPU_BYTES


def rows_at_once(one: Callable[[], object], *, device: torch.device, most: int) -> int:
    """How many rows fit into the `budget`, at least 1 and at most `most`. `one` runs a single row, whose memory is measured."""
    with torch.no_grad(), _Made() as made:
        one()
    return max(1, min(most, int(budget(device) // max(made.most, 1))))


class _Made(TorchDispatchMode):
    """Bytes of the tensors that operations make, each storage once, and the `most` there were at once; not of what was there before."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                self._see(tensor, given)
        return out

    def _see(self, tensor: Tensor, given: set[int]) -> None:
        key, number = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if not number or (key in given and key not in self._held):
            return
        if key not in self._held:
            self.now += number
            self.most = max(self.most, self.now)
        self._held[key] = self._held.get(key, 0) + 1
        weakref.finalize(tensor, self._drop, key, number)

    def _drop(self, key: int, number: int) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
            self.now -= number
