"""Memory of a training step before any training: the step itself, at full size, on tensors without numbers. No weights are needed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import methods
from pipeline.clip import FrozenClip
from pipeline.config.schema import Train
from pipeline.core.layout import FRAMES
from pipeline.cost.measure import measure_step
from pipeline.inputs.split import Pairs, Split
from pipeline.methods import Method, Shape
from pipeline.runtime.distributed import ALONE
from pipeline.runtime.memory import Made
from pipeline.runtime.unfilled import Unfilled
from pipeline.training import optim, step

CPU = torch.device("cpu")
CONTEXT = 1e9  # bytes that CUDA, its libraries and their workspaces take beside all tensors; assumed
GAPS = 0.05  # share of the peak that an allocator loses between tensors, and operations take for themselves; assumed


@dataclass(frozen=True)
class Need:
    """Bytes of a training on one device.

    `kept`: what `measure_step` counts on a CPU. `peak`: weights, those of the selected epoch, marks of what was trained, the batch, and
    all that a step makes, temporaries too, at their most at once.
    """

    kept: int
    peak: int

    @property
    def total(self) -> float:
        """The peak with the allowance: what a device must have."""
        return self.peak * (1 + GAPS) + CONTEXT


def need(make: Callable[[], FrozenClip], method: Method, *, shape: Shape, settings: Train) -> Need:
    """The memory of a step of a method on the plain CLIP that `make` builds. No frame is padded. ValueError if it cannot be attached.

    Recurrences (VoP^C) are counted without what their kernels note for the backward pass, which only they know.
    """
    with torch.device("meta"):
        clip = make()
    with Unfilled():
        clip = methods.attach(clip.to_empty(device="cpu"), method, shape=shape).train()
        clip.checkpointing(settings.checkpointing)
        split, batch = _noise(clip, shape, number=settings.batch)
        work = step.prepare(clip, split, settings=replace(settings, compile=False), team=ALONE, device=CPU)  # weights in their precision
        with Made() as made:
            kept, unused = _step(work, batch, settings=settings)
    at_once = min(settings.chunk or settings.batch, settings.batch)  # a batch in pieces stays on the host
    moved = sum(part.nbytes for part in batch if part is not None) * at_once // settings.batch
    beside = sum(p.nbytes + p.numel() for p in clip.trained().values())
    return Need(kept=kept - unused, peak=_weights(clip) + beside + moved + made.most - unused)


def _noise(clip: FrozenClip, shape: Shape, *, number: int) -> tuple[Split, Pairs]:
    """So many pairs of videos in memory."""
    ids = clip.tokenize(["a video"] * number, num_words=shape.num_words)
    store: Any = _Frames()
    split = Split(store, None, ids, np.arange(number), np.zeros(number, bool), [""] * number)
    if clip.extra_captions:
        split = replace(split, extra=ids[:, None].expand(-1, shape.num_frames, -1).contiguous())
    seen = torch.empty(number, shape.num_frames, 3, clip.image_size, clip.image_size).to(torch.uint8)
    return split, Pairs(seen, torch.ones(number, shape.num_frames, dtype=torch.bool), ids, None, split.extra)


class _Frames:
    """A store of frames, none of which is read."""

    kind, level = FRAMES, 0


def _step(work: step.Step, batch: Pairs, *, settings: Train) -> tuple[int, int]:
    """The bytes that a step keeps once the optimiser holds its state, and those of them for tensors that no gradient reaches.

    Every tensor is given a gradient first. A training has gradients and state only for those that one reaches.
    """
    clip, trained, reached = work.clip, work.clip.trained(), set[int]()
    if not trained:
        return _weights(clip), 0
    optimiser = optim.build(trained, train=settings, half_names=optim.half_names(clip))
    for parameter in trained.values():
        parameter.grad = torch.zeros_like(parameter)
        parameter.register_post_accumulate_grad_hook(lambda p: reached.add(id(p)))
    optim.clip_gradients(trained.values(), settings.clip_norm)
    optimiser.step()
    if 0 < settings.chunk < settings.batch:
        work = replace(work, encode=_One(work.encode, size=clip.embed_dim))  # which meets the gradients of the pieces before it
    else:
        optimiser.zero_grad(set_to_none=True)
    with measure_step(clip, optimiser, device=CPU, wanted=True) as used:
        work.backward(batch, total=settings.batch)
    unused = [p for p in trained.values() if id(p) not in reached]
    beside = [value for p in unused for value in (p.grad, *optimiser.state[p].values()) if isinstance(value, Tensor)]
    return used.bytes, sum(value.nbytes for value in beside)


class _One:
    """`encode` of a `Step` for the first piece that needs its graph: all pieces take the same, and only one is there at once."""

    def __init__(self, encode: Callable[[Pairs], tuple[Tensor, ...]], *, size: int) -> None:
        self._encode, self._size, self._done = encode, size, False

    def __call__(self, pairs: Pairs) -> tuple[Tensor, ...]:
        with_graph = torch.is_grad_enabled()
        if with_graph and not self._done:
            self._done = True
            return self._encode(pairs)
        rows = [pairs.mask.shape, pairs.ids.shape[:1], *([] if pairs.extra is None else [pairs.mask.shape])]
        return tuple(torch.empty(*shape, self._size).requires_grad_(with_graph) for shape in rows)


def _weights(clip: FrozenClip) -> int:
    return sum(tensor.nbytes for tensor in (*clip.parameters(), *clip.buffers()))
