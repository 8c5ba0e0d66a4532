"""Which settings let a training step fit a given memory, and the table of it. The batch is never among them: its pairs are negatives."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pipeline.clip import FrozenClip
from pipeline.config.schema import Train
from pipeline.core.formatting import size
from pipeline.methods import Method, Shape
from pipeline.training.memory import Need, need

Row = dict[str, Any]
COLUMNS = ("precision", "autograd keeps", "peak", "device needs")
Ask = Callable[[Train], Need]


def row(make: Callable[[], FrozenClip], method: Method, *, shape: Shape, settings: Train, memories: Sequence[int]) -> Row:
    """Bytes of a step under `settings`, and for each of `memories` the settings with which it `fits`, or none.

    `make` as for `memory.need`. ValueError if the method cannot be attached.
    """

    @cache
    def asked(chunk: int, checkpointing: bool) -> Need:
        return need(make, method, shape=shape, settings=replace(settings, chunk=chunk, checkpointing=checkpointing))

    def ask(values: Train) -> Need:
        return asked(values.chunk, values.checkpointing)

    own = ask(settings)
    fits = {str(memory): list(fitting(ask, settings=settings, memory=memory)) for memory in memories}
    return {
        "batch": settings.batch,
        "precision": settings.precision,
        "kept": own.kept,
        "peak": own.peak,
        "needed": round(own.total),
        "fits": fits,
    }


def fitting(ask: Ask, *, settings: Train, memory: float) -> Iterator[dict[str, Any]]:
    """The settings to add to `settings` so that a step fits: none; or the largest halved `chunk`; or that with checkpointing.

    Checkpointing costs a forward pass like `chunk`, so it is offered only where the `chunk` may then be larger.
    """
    if ask(settings).total <= memory:
        yield {}
        return
    alone = _largest(ask, settings=settings, memory=memory)
    if alone:
        yield {"chunk": alone}
    if settings.checkpointing:
        return
    other = replace(settings, checkpointing=True)
    if ask(other).total <= memory:
        yield {"checkpointing": True}
    elif (more := _largest(ask, settings=other, memory=memory)) > alone:
        yield {"chunk": more, "checkpointing": True}


def _largest(ask: Ask, *, settings: Train, memory: float) -> int:
    """The first `chunk` that fits if the present one is halved again and again, 0 if none does."""
    sizes, now = list[int](), settings.chunk or settings.batch
    while now > 1:
        sizes.append(now := now // 2)
    place = bisect_left(sizes, True, key=lambda chunk: ask(replace(settings, chunk=chunk)).total <= memory)
    return sizes[place] if place < len(sizes) else 0


def told(fits: Iterable[Mapping[str, Any]]) -> str:
    """The ways to fit, as words of params.yaml."""
    ways = [", ".join(f"{key}: {str(value).lower()}" for key, value in way.items()) or "fits" for way in fits]
    return " or ".join(ways) or "no"


def cells(row: Row) -> list[str]:
    """A row under COLUMNS, and for each memory whether or how it fits."""
    return [row["precision"], *(size(row[key]) for key in ("kept", "peak", "needed")), *map(told, row["fits"].values())]
