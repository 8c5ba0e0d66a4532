"""How far up each tower nothing can change: the level whose output is the same in every epoch, seed and method, so that it can be stored.

It follows from what is attached and from which of CLIP's tensors are trained, never from a list of methods.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.clip import FrozenClip
from pipeline.clip.tower import BlockHooks, Tower

PARTS = {
    "vision": (("conv1.", "class_embedding", "positional_embedding", "ln_pre."), ("ln_post.", "proj"), "visual.", "transformer.resblocks."),
    "text": (("token_embedding.", "positional_embedding"), ("ln_final.", "text_projection"), "", "transformer.resblocks."),
}
POOLING = ("ln_post.", "attn_pool.")  # what makes the one vector that is read of all tokens


class Reach(NamedTuple):
    """`level`: the highest of a tower (clip/forward.py) that nothing changes. `reason`: what changes the next one, "" at the top."""

    level: int
    reason: str


def reaches(clip: FrozenClip) -> dict[str, Reach]:
    """The reach of both towers, by name, of a CLIP to which a method is attached."""
    return {tower.name: _read(clip, tower, _reach(clip, tower)) for tower in (clip.vision, clip.text)}


def reason(reach: Reach) -> str:
    """Why a run may not take more than its reach, and what it may take."""
    return f"{reach.reason}; " + (f"it may take {reach.level} blocks or fewer" if reach.level else "it may take none of the stored blocks")


def _read(clip: FrozenClip, tower: Tower, unchanged: Reach) -> Reach:
    """The levels of `unchanged` that may be stored: not above the lowest one whose tokens a side module reads, and all tokens of that."""
    level = min(*tower.taps, tower.top - 1) if tower.taps else tower.top + 1
    if tower.side is None or level >= unchanged.level:
        return unchanged
    return Reach(level, f"all tokens after {level} blocks of the {tower.name} tower are read by {_module(clip, tower.side)}")


def _reach(clip: FrozenClip, tower: Tower) -> Reach:
    start, end, prefix, blocks = PARTS[tower.name]
    if change := next(_changes(clip, [*tower.pixels, *tower.embedding], prefix, start), None):
        return Reach(0, f"the embedding of the {tower.name} tower is changed by {change}")
    for layer, hooks in enumerate(tower.hooks):
        if change := next(_changes(clip, _attached(hooks), prefix, (f"{blocks}{layer}.",)), None):
            return Reach(layer, f"block {layer} (of 0 to {tower.top - 1}) of the {tower.name} tower is changed by {change}")
    if tower.pooled and (change := next(_changes(clip, (), prefix, POOLING), None)):
        return Reach(tower.top - 1, f"the pooling of the {tower.name} tower is changed by {change}")
    if change := next(_changes(clip, (), prefix, end), None):
        return Reach(tower.top, f"the last norm and the projection of the {tower.name} tower are changed by {change}")
    return Reach(tower.top + 1, "")


def _attached(hooks: BlockHooks) -> list[Callable[..., Any]]:
    single = [hooks.mask] if hooks.mask else []
    return [*hooks.before, *hooks.attention, *hooks.between, *hooks.mlp, *hooks.after, *single, *hooks.weights.values()]


def _changes(clip: FrozenClip, hooks: Iterable[Callable[..., Any]], prefix: str, names: tuple[str, ...]) -> Iterator[str]:
    """Names of whatever changes a part of a tower: the modules behind its hooks, and CLIP's trained tensors whose names start so."""
    for hook in hooks:
        yield _module(clip, hook)
    for name in clip.unfrozen:
        if name.startswith(tuple(prefix + part for part in names)):
            yield f"training clip.{name}"


def _module(clip: FrozenClip, hook: Callable[..., Any]) -> str:
    """The attached module or parameter that a hook uses, by its name in the checkpoint; the function itself where it uses none."""
    named = [*clip.adapter.named_modules(prefix="adapter"), *clip.adapter.named_parameters(prefix="adapter")]
    places = {id(held): f"{name} ({type(held).__name__})" for name, held in named if name != "adapter"}
    found = (places[id(held)] for held in _held(hook, depth=4) if id(held) in places)
    return next(found, f"{hook.__module__}.{getattr(hook, '__qualname__', type(hook).__name__).split('.<locals>')[0]}")


def _held(value: Any, *, depth: int) -> Iterator[Any]:
    """A value and what it holds: in the closure of a function, in a tuple, in an object of ours."""
    yield value
    inside = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    inside += value if isinstance(value, tuple | list) else ()
    inside += vars(value).values() if type(value).__module__.startswith("pipeline.") else ()
    for held in inside if depth else ():
        yield from _held(held, depth=depth - 1)
