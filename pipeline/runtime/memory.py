"""Memory that operations take, and how many rows of a pass without gradients fit into it."""

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
    with torch.no_grad(), Made() as made:
        one()
    return max(1, min(most, int(budget(device) // max(made.most, 1))))


class Made(TorchDispatchMode):
    """Bytes of the storages that operations make, and the `most` there were at once; not of what was there before.

    A storage lives as long as a tensor of Python, or what autograd keeps for the backward pass, needs it. Memory that an
    operation takes for itself while it runs is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {key_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.layout == torch.strided}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                self._see(tensor, given)
        return out

    def _see(self, tensor: Tensor, given: set[int]) -> None:
        key, storage = key_of(tensor), tensor.untyped_storage()
        number = storage.nbytes()
        if not number or key in given or key in self._held:
            return
        self._held.add(key)
        self.now += number
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key, number)

    def _drop(self, key: int, number: int) -> None:
        self._held.discard(key)
        self.now -= number


def key_of(tensor: Tensor) -> int:
    """The place of a tensor's storage, the same for all tensors on it while it lives, also where it has no numbers (`runtime.unfilled`)."""
    return int(tensor.untyped_storage()._cdata)
