"""Dead parameters: entries of trained tensors that no gradient can reach, whatever the weights, the video and the words.

Shapes: T frames, N = T of the one video here, P patches, L tokens, D width, E embedding.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Flow
from pipeline.evaluation.similarity import pool

DRAWS = 4
# They leave much of a row free, as most captions do: prompts behind the end of text are dead for them.
SHORT = ["a dog", "two people talk"]
POSITIONS = ("position", "positional_embedding")
# Which words occur depends on the data. The bias of an attention's keys changes nothing but the rounding, which is zero now and then.
WHOLE = ("token_embedding.weight", "bias")


def find_alive(clip: FrozenClip, *, num_frames: int, num_words: int) -> dict[str, Tensor]:
    """For each trained tensor which of its entries get a gradient from a video or a short caption: the others are dead.

    A table of positions is also asked with a caption that fills its row; the table of words and every bias count as a whole. The
    trained tensors are left randomised: attach anew. `detach_all` restores CLIP's own.
    """
    trained = clip.trained()
    alive = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in trained.items()}
    for _ in range(DRAWS):
        waiting = {name: trained[name] for name, mask in alive.items() if not mask.all()}
        if not waiting:
            break
        _shake(trained)
        positions = {name: p for name, p in waiting.items() if name.endswith(POSITIONS)}
        loss = _video_loss(clip, num_frames) + _text_loss(clip, SHORT, num_words)
        if clip.extra_captions:
            loss = loss + _text_loss(clip, SHORT, num_words, frames=len(SHORT))
        _mark(alive, waiting, loss=loss)
        _mark(alive, positions, loss=_text_loss(clip, ["word " * clip.context_length], num_words))
        for name in (name for name in waiting if name.endswith(WHOLE)):
            alive[name].fill_(bool(alive[name].any()))
    return alive


@torch.no_grad()
def _shake(trained: dict[str, torch.nn.Parameter], size: float = 0.01) -> None:
    """Move all trained tensors, so that those that start at zero let gradients through."""
    for parameter in trained.values():
        parameter.add_(torch.randn_like(parameter), alpha=size)


def _mark(alive: dict[str, Tensor], asked: dict[str, torch.nn.Parameter], *, loss: Tensor) -> None:
    if not (asked and loss.requires_grad):
        return
    gradients = torch.autograd.grad(loss, list(asked.values()), allow_unused=True)
    for name, gradient in zip(asked, gradients, strict=True):
        if gradient is not None:
            alive[name] |= gradient != 0


def _video_loss(clip: FrozenClip, num_frames: int) -> Tensor:
    """A random projection of all frame features of a random video, and of their mean where they are weighed."""
    device = clip.mean.device
    frames = torch.randint(0, 256, (1, num_frames, 3, clip.image_size, clip.image_size), dtype=torch.uint8, device=device)
    with _few_patches(clip), _Smooth():
        mask = torch.ones(1, num_frames, dtype=torch.bool, device=device)
        features = clip.encode_frames(frames, mask=mask)
        weighed = [pool(features, mask=mask, weigh=clip.frame_weights)] if clip.frame_weights else []
    return sum((_project(clip, made) for made in weighed), _project(clip, features))


def _text_loss(clip: FrozenClip, captions: list[str], num_words: int, *, frames: int = 0) -> Tensor:
    """The same of captions, or of those of so many frames of a video."""
    ids = clip.tokenize(captions, num_words=num_words).to(clip.mean.device)
    mask = torch.ones(1, frames, dtype=torch.bool, device=ids.device) if frames else None
    with _Smooth():
        return _project(clip, clip.encode_text(ids, mask=mask))


def _project(clip: FrozenClip, features: Tensor) -> Tensor:
    """Features (..., E) -> a number that depends on all of them, and on the temperature like a loss."""
    return clip.logit_scale * (features * torch.randn_like(features)).sum()


@contextmanager
def _few_patches(clip: FrozenClip) -> Iterator[None]:
    """Show CLIP a few patches of each frame, other ones in each, together all: the same entries are reached in a fifth of the time.

    All of them to a method that looks at pixels, which may lay patches out in space.
    """
    if clip.vision.pixels:
        yield
        return
    clip.vision.embedding.insert(0, _choose_patches)
    try:
        yield
    finally:
        clip.vision.embedding.remove(_choose_patches)


def _choose_patches(tokens: Tensor, flow: Flow) -> Tensor:
    """P patches of N frames -> K, the least square number that shows each patch in some frame, but a square of three for kernels.

    Rotary positions keep their number and not their places, which change no count.
    """
    patches, cls = flow.patches, tokens.shape[1] - flow.patches
    number = min(max(math.ceil(math.sqrt(patches / flow.num_frames)), 3) ** 2, patches)
    chosen = torch.arange(len(tokens) * number, device=tokens.device).view(-1, number) % patches
    flow.patches, flow.rotary = number, None if flow.rotary is None else flow.rotary[:number]
    return torch.cat([tokens[:, :cls], tokens[:, cls:].take_along_dim(chosen[..., None], dim=1)], dim=1)


class _Smooth(TorchFunctionMode):
    """A ReLU that is off by chance would hide what is behind it; its smooth form never is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.relu, torch.relu, Tensor.relu):
            return F.softplus(args[0])
        return func(*args, **(kwargs or {}))
