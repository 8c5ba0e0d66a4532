"""A GPU that is not there: numbers are computed on the CPU, but a storage says where it would lie, and the rules of two places hold.

Inside `PretendedGpu()` a tensor is "on" cuda:0 if its storage is marked so. Every operation, of the backward pass too, is looked at as it
is dispatched: what is made of marked tensors is marked; tensors of both places in one operation raise `Misplaced` with the line of the
project that asked for it, unless torch allows it (copies, numbers without a dimension, indices on the CPU). `waits` counts by line what
makes a process wait until a GPU has come so far: a value that Python asks for, a shape that depends on values, a copy to the CPU, and one
from memory that is not pinned.

Not found: kernels that a real GPU does not have, and their speed.
"""

import contextlib
import functools
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import torch
from torch.nn.utils import clip_grad
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
HERE, PIPELINE = Path(__file__).name, f"{Path(__file__).parents[1] / 'pipeline'}/"
aten = torch.ops.aten

# The Python functions that make a tensor of nothing. What C++ makes by itself in the course of an operation has no place of its own.
FACTORIES = ["arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "ones"]
FACTORIES += ["rand", "randint", "randn", "randperm", "tensor", "zeros"]
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index, aten._unsafe_index_put}
COPIES = {aten.copy_, aten._to_copy}
# Their result has a shape, or is a value, that the host must know.
ASKED = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.unique_consecutive}
LENGTH = 2**35  # bytes of the memory


class Misplaced(RuntimeError):
    """An operation on tensors of both places."""


def asked_at() -> str:
    """`clip/tower.py:71`: the innermost line of pipeline/ on the stack, or else the innermost that is neither torch's nor of this file."""
    frame, other = sys._getframe(1), "torch"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PIPELINE) and frame.f_code.co_name != "__torch_dispatch__":
            return f"{name.removeprefix(PIPELINE)}:{frame.f_lineno}"
        if other == "torch" and "/torch/" not in name and not name.endswith(HERE):
            other = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return other


def place(tensor):
    """cuda, cpu, or None for what goes with either."""
    return getattr(tensor.untyped_storage(), "place", "cpu")


def put(tensor, where):
    """Say of a tensor's storage where it lies."""
    tensor.untyped_storage().place = where
    return tensor


class Kind(NamedTuple):
    """The facts about an operation that matter, known once for all its calls."""

    copies: bool
    fills: bool
    indexes: bool
    asks: bool
    repeats: bool
    packs: bool  # by lengths on the CPU, of a GPU too
    views: bool


@functools.cache
def kind(func):
    packet = func.overloadpacket
    repeats = func is aten.repeat_interleave.Tensor
    packs = packet is aten._pack_padded_sequence
    return Kind(packet in COPIES, packet is aten.copy_, packet in INDEXED, packet in ASKED, repeats, packs, func.is_view)


def tensors_in(values):
    """The tensors that an operation takes and gives, and lists of them."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


class PretendedGpu(TorchDispatchMode):
    """The machine with the device cuda:0, for as long as the block lasts. `waits`: times a line waited for the GPU."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self._given = [None]  # whether a Python function that makes a tensor is under way, innermost last
        self._stack = contextlib.ExitStack()

    def wait(self):
        self.waits[asked_at()] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, what = dict(kwargs or {}), kind(func)
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == "cuda":
            kwargs["device"] = CPU
        else:
            asked = None
        given = tensors_in((*args, *kwargs.values()))
        places = {place(tensor) for tensor in given}
        if not what.copies and not what.packs and "cuda" in places and "cpu" in places:
            self._refuse_mixed(func, what, args, given)
        if "cuda" in places and self._asks(what, args, kwargs):
            self.wait()
        out = func(*args, **kwargs)
        if what.fills:
            self._moved(args[1], to=place(args[0]), eager=not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)))
            return out
        if asked is not None and what.copies and "cuda" not in places:
            self._moved(given[0], to="cuda", eager=not kwargs.get("non_blocking", False))
        nowhere = not places - {None} if given else self._given[-1] is None
        where = "cuda" if asked is not None or "cuda" in places else None if nowhere else "cpu"
        if where != "cpu" and not what.views:
            known = [one.untyped_storage() for one in given]
            for made in tensors_in((out[:1] if what.packs else out,)):
                if not any(made.untyped_storage() is one for one in known):
                    put(made, where)
        return out

    @staticmethod
    def _asks(what, args, kwargs):
        masked = what.indexes and any(one.dtype in (torch.bool, torch.uint8) for one in tensors_in((args[1],)))
        return masked or what.asks or (what.repeats and kwargs.get("output_size") is None)

    def _refuse_mixed(self, func, what, args, given):
        if what.indexes and place(args[0]) == "cuda" and all(place(one) == "cuda" or not one.ndim for one in tensors_in(args[2:])):
            self.wait()  # the indices are copied first
        elif any(one.ndim and place(one) == "cpu" for one in given):
            shapes = ", ".join(f"{place(one)} {tuple(one.shape)}" for one in given)
            raise Misplaced(f"{asked_at()}: {func} of tensors of both places: {shapes}")

    def _moved(self, source, *, to, eager):
        pinned = getattr(source.untyped_storage(), "pinned", False)
        if {place(source), to} >= {"cpu", "cuda"} and (to == "cpu" or eager or not pinned):
            self.wait()

    # Python's view of a tensor
    def _to(self, tensor, *args, **kwargs):
        goal = kwargs.get("device", args[0] if args else None)
        goal = goal.device if isinstance(goal, torch.Tensor) else goal
        if not isinstance(goal, torch.device | str | int):
            return self._real_to(tensor, *args, **kwargs)
        goal = torch.device("cuda", goal) if isinstance(goal, int) else torch.device(goal)
        if goal.type == "cuda" and place(tensor) == "cpu":
            return self._real_to(tensor, *args, **kwargs)
        if isinstance(args[0] if args else None, torch.Tensor):
            args = (CPU, args[0].dtype, *args[1:])
        elif args and "device" not in kwargs:
            args = (CPU, *args[1:])
        else:
            kwargs["device"] = CPU
        made = self._real_to(tensor, *args, **kwargs)
        return self._fetched(made) if goal.type == "cpu" and place(tensor) == "cuda" else made

    def _fetched(self, tensor):
        self.wait()
        return put(tensor.clone(), "cpu")

    def _array(self, tensor, *args, **kwargs):
        if place(tensor) == "cuda":
            raise Misplaced(f"{asked_at()}: an array of a tensor on cuda:0; copy it to the CPU first")
        return self._real_numpy(tensor, *args, **kwargs)

    def _listed(self, tensor):
        if place(tensor) == "cuda":
            self.wait()
            tensor = put(tensor.detach().clone(), "cpu")
        return self._real_tolist(tensor)

    @staticmethod
    def _pinned(tensor):
        made = tensor.clone()
        made.untyped_storage().pinned = True
        return made

    # the machine
    def _made_in_python(self, function):
        def make(*args, **kwargs):
            self._given.append(function)
            try:
                return function(*args, **kwargs)
            finally:
                self._given.pop()

        return make

    def _load(self, *args, map_location=None, **kwargs):
        with _disable_current_modes():
            found = self._real_load(*args, map_location=CPU, **kwargs)
        there = map_location is not None and torch.device(map_location).type == "cuda"
        return tree_map_only(torch.Tensor, lambda one: put(one, "cuda"), found) if there else found

    @staticmethod
    def _grouped(lists, **options):
        found = _group_tensors_by_device_and_dtype(lists, **options)
        return {(group[0][0][0].device, dtype): group for (_, dtype), group in found.items()}

    @staticmethod
    def _state_of_the_cpu(state):
        if place(state) == "cuda":
            raise Misplaced(f"{asked_at()}: the state of a generator on cuda:0; all of them are taken from CPU tensors")

    def _set_rng_state(self, state):
        self._state_of_the_cpu(state)
        self._real_set_rng_state(state)

    def __enter__(self):
        of_tensor, of_torch = torch.Tensor, torch
        self._real_to, self._real_numpy, self._real_tolist = of_tensor.to, of_tensor.numpy, of_tensor.tolist
        self._real_load, self._real_set_rng_state, real_autocast = torch.load, torch.set_rng_state, torch.autocast
        device, told = torch._C.TensorBase.device, torch._C.TensorBase.is_cuda
        patches = {
            of_tensor: {
                "device": property(lambda one: GPU if place(one) == "cuda" else device.__get__(one)),
                "is_cuda": property(lambda one: place(one) == "cuda" or told.__get__(one)),
                "is_cpu": property(lambda one: one.device == CPU),
                "to": lambda one, *args, **kwargs: self._to(one, *args, **kwargs),
                "cpu": lambda one: self._fetched(one) if place(one) == "cuda" else one,
                "cuda": lambda one, *_: self._to(one, GPU),
                "numpy": lambda one, *args, **kwargs: self._array(one, *args, **kwargs),
                "tolist": lambda one: self._listed(one),
                "pin_memory": lambda one: self._pinned(one),
                "record_stream": lambda *_: None,
            },
            of_torch: {name: self._made_in_python(getattr(torch, name)) for name in FACTORIES}
            | {"load": self._load, "set_rng_state": self._set_rng_state, "autocast": lambda _, **options: real_autocast("cpu", **options)},
            torch.cuda: {
                "is_available": lambda: True,
                "device_count": lambda: 1,
                "_lazy_init": lambda: None,
                "current_device": lambda: 0,
                "set_device": lambda _: None,
                "synchronize": lambda _=None: None,
                "is_current_stream_capturing": lambda: False,
                "Stream": lambda _=None: SimpleNamespace(),
                "stream": lambda _: contextlib.nullcontext(),
                "current_stream": lambda _=None: SimpleNamespace(wait_stream=lambda _: None),
                "get_rng_state": lambda _=None: torch.zeros(16, dtype=torch.uint8),
                "set_rng_state": lambda state, _=None: self._state_of_the_cpu(state),
                "reset_peak_memory_stats": lambda _=None: None,
                "max_memory_allocated": lambda _=None: 1,
                "mem_get_info": lambda _=None: (LENGTH, LENGTH),
                "get_device_properties": lambda _=None: SimpleNamespace(total_memory=LENGTH, uuid="pretended"),
                "get_device_name": lambda _=None: "pretended",
                "get_device_capability": lambda _=None: (9, 0),
            },
            torch.backends.cudnn: {"is_acceptable": lambda _: False},
            # Its groups are of real places: what it clips by would be fetched to the CPU.
            clip_grad: {"_group_tensors_by_device_and_dtype": self._grouped},
            torch.accelerator: {"current_stream": lambda _=None: SimpleNamespace(is_capturing=lambda: False)},
        }
        for owner, changed in patches.items():
            for name, value in changed.items():
                self._stack.enter_context(mock.patch.object(owner, name, value))
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._stack.close()
