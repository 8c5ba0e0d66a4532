"""Attachments of a method, taken off a CLIP as a whole and put back: nothing is built anew, and no tensor is copied."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline.clip import FrozenClip
from pipeline.clip.batch import Batch
from pipeline.clip.tower import BlockHooks, SideHook, TokenHook


@dataclass(frozen=True)
class Attached:
    """`own`: by name those of CLIP's parameters that the method has other values of, and the values. The rest as in `FrozenClip`."""

    own: dict[str, tuple[nn.Parameter, Tensor]]
    unfrozen: dict[str, nn.Parameter]
    adapter: nn.Module
    hooks: list[tuple[list[TokenHook], list[TokenHook], list[BlockHooks], list[int], SideHook | None]]
    frame_head: list[Callable[[Tensor, Tensor], Tensor]]
    text_head: list[Callable[[Tensor], Tensor]]
    query_temperature: float | None
    frame_weights: Callable[[Tensor, Tensor], Tensor] | None
    losses: list[Callable[[Batch], Tensor]]
    extra_captions: bool


def take(clip: FrozenClip) -> Attached:
    """Take off what is attached; `clip` is then plain CLIP, bit for bit.

    Values change places with the originals, so those that are taken off stay where they are in memory: `detach_all` would write over them.
    """
    own = {name: clip.model.get_parameter(name) for name in clip.originals}
    held = Attached(
        own={name: (parameter, parameter.data) for name, parameter in own.items()},
        unfrozen=clip.unfrozen,
        adapter=clip.adapter,
        hooks=[(tower.pixels, tower.embedding, tower.hooks, tower.taps, tower.side) for tower in (clip.vision, clip.text)],
        frame_head=clip.frame_head,
        text_head=clip.text_head,
        query_temperature=clip.query_temperature,
        frame_weights=clip.frame_weights,
        losses=clip.losses,
        extra_captions=clip.extra_captions,
    )
    for name, parameter in own.items():
        parameter.data = clip.originals[name]
        parameter.requires_grad_(False)
    clip.originals = {}
    clip.plain()
    return held


def put(clip: FrozenClip, held: Attached) -> None:
    """Put back what `take` has taken off this `clip`, which must be plain."""
    assert not clip.originals and not clip.trained(), "take the other one off first"
    for name, (parameter, values) in held.own.items():
        clip.originals[name] = parameter.data
        parameter.data = values
    for parameter in held.unfrozen.values():
        # Torch chooses kernels by whether a weight wants a gradient: the same flags, the same bits.
        parameter.requires_grad_(True)
    for tower, hooks in zip((clip.vision, clip.text), held.hooks, strict=True):
        tower.pixels, tower.embedding, tower.hooks, tower.taps, tower.side = hooks
    clip.unfrozen, clip.adapter = held.unfrozen, held.adapter
    clip.frame_head, clip.text_head, clip.query_temperature = held.frame_head, held.text_head, held.query_temperature
    clip.frame_weights, clip.losses, clip.extra_captions = held.frame_weights, held.losses, held.extra_captions
