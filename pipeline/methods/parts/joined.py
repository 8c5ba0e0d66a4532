"""Upper layers that see all frames of a video at once: VoP's function-specific prompts. B videos, T frames, P patches, D width."""

import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, MaskHook, TokenHook
from pipeline.methods.parts.prompts import drop, entry, insert


def see_all_frames(clip: FrozenClip, prompts: Tensor, position: Tensor, *, shallow: int) -> None:
    """From layer `shallow` on a row is a video, with prompts (layers, P, D) of its own; the positions (T, D) are added once."""
    tower, number = clip.vision, prompts.shape[1]
    entry(tower, shallow).append(_join(position, tower.cls))
    for layer, hooks in enumerate(tower.hooks[shallow:], start=shallow):
        entry(tower, layer).append(_put_video(prompts, layer - shallow, tower.cls))
        hooks.mask = _hide_padded(number, tower.cls)
        hooks.after.append(_discard_video(number, tower.cls))
    tower.hooks[-1].after.append(_split(tower.cls))


def _join(position: Tensor, cls: int) -> TokenHook:
    """Frames (B*T, L, D) -> videos (B, T*L, D), CLS tokens first where there are any; each token gets the position of its frame."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        return in_one_row(tokens.unflatten(0, (-1, flow.num_frames)) + position[: flow.num_frames, None].to(tokens.dtype), cls=cls)

    return change


def in_one_row(frames: Tensor, *, cls: int) -> Tensor:
    """Frames, or clips, side by side (R, F, L, ...) -> (R, F*L, ...): the first `cls` tokens of all, then the others of all."""
    return torch.cat([frames[:, :, :cls].flatten(1, 2), frames[:, :, cls:].flatten(1, 2)], dim=1)


def _split(cls: int) -> TokenHook:
    """The inverse of `_join`, without the positions."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        frames = flow.num_frames
        first = tokens[:, : cls * frames].unflatten(1, (frames, cls))
        patches = tokens[:, cls * frames :].unflatten(1, (frames, -1))
        return torch.cat([first, patches], dim=2).flatten(0, 1)

    return change


def _put_video(prompts: Tensor, row: int, cls: int) -> TokenHook:
    # The row is taken in the pass: one that is taken before stays on the device where the table was made.
    return lambda tokens, flow: insert(tokens, prompts[row], at=cls * flow.num_frames)


def _discard_video(number: int, cls: int) -> TokenHook:
    return lambda tokens, flow: drop(tokens, at=cls * flow.num_frames, number=number)


def _hide_padded(number: int, cls: int) -> MaskHook:
    """No token of a video may look at a token of a padded frame."""

    def mask(tokens: Tensor, flow: Flow) -> Tensor | None:
        if not flow.padded:
            return None
        real = flow.frames
        patches = (tokens.shape[1] - number) // flow.num_frames - cls
        prompts = real.new_ones(len(real), number)
        return torch.cat([real.repeat_interleave(cls, dim=1), prompts, real.repeat_interleave(patches, dim=1)], dim=1)

    return mask
