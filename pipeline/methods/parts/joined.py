"""Upper layers that see all frames of a video at once: VoP's function-specific prompts. B videos, T frames, P patches, D width."""

import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow, MaskHook, TokenHook
from pipeline.methods.parts.prompts import drop, entry, insert


def see_all_frames(clip: FrozenClip, prompts: Tensor, position: Tensor, *, shallow: int) -> None:
    """From layer `shallow` on a row is a video, with prompts (layers, P, D) of its own; the positions (T, D) are added once."""
    tower, number = clip.vision, prompts.shape[1]
    entry(tower, shallow).append(_join(position))
    for layer, hooks in enumerate(tower.hooks[shallow:], start=shallow):
        entry(tower, layer).append(_put_video(prompts, layer - shallow))
        hooks.mask = _hide_padded(number)
        hooks.after.append(_discard_video(number))
    tower.hooks[-1].after.append(_split)


def _join(position: Tensor) -> TokenHook:
    """Frames (B*T, 1+P, D) -> videos (B, T + T*P, D), CLS tokens first; each token gets the position of its frame."""

    def change(tokens: Tensor, flow: Flow) -> Tensor:
        z = tokens.unflatten(0, (-1, flow.num_frames)) + position[: flow.num_frames, None].to(tokens.dtype)
        return torch.cat([z[:, :, 0], z[:, :, 1:].flatten(1, 2)], dim=1)

    return change


def _split(tokens: Tensor, flow: Flow) -> Tensor:
    """The inverse of `_join`, without the positions."""
    frames = flow.num_frames
    patches = tokens[:, frames:].unflatten(1, (frames, -1))
    return torch.cat([tokens[:, :frames, None], patches], dim=2).flatten(0, 1)


def _put_video(prompts: Tensor, row: int) -> TokenHook:
    # The row is taken in the pass: one that is taken before stays on the device where the table was made.
    return lambda tokens, flow: insert(tokens, prompts[row], at=flow.num_frames)


def _discard_video(number: int) -> TokenHook:
    return lambda tokens, flow: drop(tokens, at=flow.num_frames, number=number)


def _hide_padded(number: int) -> MaskHook:
    """No token of a video may look at a token of a padded frame."""

    def mask(tokens: Tensor, flow: Flow) -> Tensor | None:
        if not flow.padded:
            return None
        real = flow.frames
        patches = (tokens.shape[1] - number) // flow.num_frames - 1
        prompts = real.new_ones(len(real), number)
        return torch.cat([real, prompts, real.repeat_interleave(patches, dim=1)], dim=1)

    return mask
