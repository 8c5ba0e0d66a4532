"""Cost of a method: parameters, memory of a training step, multiply-accumulates."""

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.backends import cudnn, mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pipeline.clip import FrozenClip
from pipeline.evaluation.embed import video_vectors
from pipeline.runtime.explained import explained
from pipeline.runtime.memory import key_of, rows_at_once

TIMED = 32  # videos, as many at once as fit

# torch counts the product that adds, but not the same one in place.
flop_registry[torch.ops.aten.addmm_] = flop_registry[torch.ops.aten.addmm]


@dataclass
class Used:
    """Bytes that a training step held at once."""

    bytes: int = 0


@contextmanager
def measure_step(clip: FrozenClip, optimiser: torch.optim.Optimizer, *, device: torch.device, wanted: bool) -> Iterator[Used]:
    """Memory of the step inside the block: the allocator's peak on a GPU.

    On a CPU torch keeps no such count; there it is weights + gradients + optimiser state + the most that autograd kept at once,
    without temporaries, each storage once. Other processes and the allocator's habits do not change it.
    """
    used = Used()
    if not wanted:
        yield used
    elif device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield used
        used.bytes = torch.cuda.max_memory_allocated(device)
    else:
        weights = {key_of(p): p.nbytes for p in clip.parameters()}
        saved = _Saved(set(weights))
        with torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda kept: kept.tensor):
            yield used
        gradients = sum(p.grad.nbytes for p in clip.parameters() if p.grad is not None)
        moments = sum(v.nbytes for entry in optimiser.state.values() for v in entry.values() if isinstance(v, Tensor))
        used.bytes = sum(weights.values()) + saved.most + gradients + moments


class _Kept:
    """A tensor that autograd keeps; gone when autograd lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Saved:
    """The bytes of what autograd keeps, each storage once, and the `most` there were at once. Storages in `free` are counted elsewhere."""

    def __init__(self, free: set[int]) -> None:
        self.free, self.now, self.most = free, 0, 0
        self._times: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> _Kept:
        """A stand-in that autograd holds instead of the tensor."""
        kept, key, number = _Kept(tensor), key_of(tensor), tensor.untyped_storage().nbytes()
        if key not in self.free:
            self._times[key] = self._times.get(key, 0) + 1
            if self._times[key] == 1:
                self.now += number
                self.most = max(self.most, self.now)
            weakref.finalize(kept, self._drop, key, number)
        return kept

    def _drop(self, key: int, number: int) -> None:
        self._times[key] -= 1
        if not self._times[key]:
            self.now -= number


def parameters(clip: FrozenClip, alive: Mapping[str, Tensor]) -> dict[str, Any]:
    """Trainable parameters: those that ever received a gradient, and the dead ones that never did, by tensor."""
    dead = {name: int((~mask).sum()) for name, mask in alive.items()}
    found = {"dead": sum(dead.values()), "dead_names": sorted(name for name, number in dead.items() if number)}
    return shares(clip, alive) | found


def shares(clip: FrozenClip, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """How many parameters are trained: in per cent of CLIP, and of its towers, which are CLIP without the token table.

    The table has a row for each word that the tokeniser knows, half of some backbones; what is trained of it is left out there, too.
    """
    sizes = {name: tensor.numel() for name, tensor in trained.items()}
    total, table = sum(p.numel() for p in clip.model.parameters()), clip.model.token_embedding.weight.numel()
    trainable, towers = sum(sizes.values()), total - table
    return {
        "trainable": trainable,
        "backbone_parameters": total,
        "share": round(100 * trainable / total, 4),
        "tower_parameters": towers,
        "tower_share": round(100 * (trainable - sizes.get("clip.token_embedding.weight", 0)) / towers, 4),
    }


@torch.no_grad()
def macs(clip: FrozenClip, *, num_frames: int, num_words: int, device: torch.device) -> dict[str, int]:
    """Multiply-accumulates of one video and of one caption, matrix products and convolutions only, as torch counts them.

    A count follows from shapes, so the products themselves are not computed; everything else runs, masks and lengths included.
    """
    frames = torch.zeros(1, num_frames, 3, clip.image_size, clip.image_size, dtype=torch.uint8, device=device)
    mask = torch.ones(1, num_frames, dtype=torch.bool, device=device)
    ids = clip.tokenize(["a video"], num_words=num_words).to(device)
    return {
        "macs_per_video": _count(clip, lambda: video_vectors(clip, clip.encode_frames(frames, mask=mask), mask=mask)),
        "macs_per_caption": _count(clip, lambda: clip.encode_text(ids)),
    }


@torch.no_grad()
def rate(clip: FrozenClip, *, num_frames: int, device: torch.device) -> float:
    """Videos a second from frames in memory to frame features: what a new video costs, whatever a run itself was read from."""
    clip.eval()
    frames = torch.zeros(TIMED, num_frames, 3, clip.image_size, clip.image_size, dtype=torch.uint8, device=device)
    mask = torch.ones(TIMED, num_frames, dtype=torch.bool, device=device)
    with explained(device=device, where="the timing of the embedding"):
        size = rows_at_once(lambda: clip.encode_frames(frames[:1], mask=mask[:1]), device=device, most=TIMED)
        wait(device)
        start = time.perf_counter()
        for seen, real in zip(frames.split(size), mask.split(size), strict=True):
            clip.encode_frames(seen, mask=real)
        wait(device)
    return TIMED / (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _count(clip: FrozenClip, run: Callable[[], object]) -> int:
    with _without_gradients(clip), _plain_kernels(), _Uncomputed(), FlopCounterMode(display=False) as counter:  # type: ignore[no-untyped-call]
        run()
    return int(counter.get_total_flops()) // 2


@contextmanager
def _without_gradients(clip: FrozenClip) -> Iterator[None]:
    """Nothing asks for a gradient: torch's counter fails at a module that gets a view of a trained tensor, as a pool gets its query."""
    asking = [p for p in clip.parameters() if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Matrix products one by one: the fused kernels of attention and of recurrent layers torch does not count on every device."""
    before = mha.get_fastpath_enabled(), mkldnn.enabled, cudnn.enabled
    mha.set_fastpath_enabled(False)
    mkldnn.enabled = cudnn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before[0])
        mkldnn.enabled, cudnn.enabled = before[1:]


class _Uncomputed(TorchDispatchMode):
    """Every operation that torch counts gives zeros of the right shape."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket not in flop_registry:
            return func(*args, **(kwargs or {}))
        device = next(value.device for value in args if isinstance(value, Tensor))
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {}))
        return tree_map_only(Tensor, lambda tensor: torch.zeros_like(tensor, device=device), func(*args, **kwargs))
