"""Tensors without numbers: a computation at any size on any machine, of which only shapes, types and lifetimes are real."""

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FEW = 2**20  # whole numbers and flags: token ids, masks, lengths of videos, places in a batch


class Unfilled(TorchDispatchMode):
    """In the block floating-point tensors have no numbers (torch's FakeTensor); whole numbers and flags that follow from such have.

    So what a computation looks at to know what to do (which frames are padded, how long videos are) is as it would be. Where it
    looks at a floating-point number it finds 0: no gradient has overflowed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        unfilled = [tensor for tensor in given if isinstance(tensor, FakeTensor)]
        if func is torch.ops.aten._local_scalar_dense.default and unfilled:
            return 0.0 if given[0].is_floating_point() else 0
        if given and not unfilled and not any(tensor.is_meta for tensor in given):
            return func(*args, **kwargs)
        with self._fake:
            out = func(*args, **kwargs)
        return func(*args, **kwargs) if not given and _few(out) else out


def _few(made: Any) -> bool:
    """Whether an operation that makes tensors of nothing made one that is filled."""
    return isinstance(made, Tensor) and not made.is_floating_point() and made.numel() <= FEW and not made.is_meta
