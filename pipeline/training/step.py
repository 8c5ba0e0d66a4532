"""The gradient of one training step: that of the loss over the whole batch, however many processes and pieces compute it.

The loss compares every caption with every video, so no part of a batch has a loss of its own. But its gradient reaches the towers
through the features alone: first all features, then the loss, then each piece's towers with the gradient of its features (GradCache,
Gao et al. 2021, arXiv:2101.06983, section 3). With one piece the towers keep what they computed; with more they compute it again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.batch import Batch
from pipeline.config.schema import Train
from pipeline.evaluation.similarity import scores
from pipeline.inputs.split import Pairs, Split
from pipeline.runtime.device import precision, random_state, set_random_state
from pipeline.runtime.distributed import Team
from pipeline.training.loss import contrast_of


@dataclass(frozen=True)
class Step:
    """How the gradient of a batch is computed. `encode`: pairs -> features of any number of kinds, each with a row a pair, in float32.

    `loss`: these of the whole batch, and the frame mask (B, T) -> a number. `chunk`: pairs whose towers are computed at once, 0 for all
    of a process. `scaler`: of losses, where towers compute in float16.
    """

    clip: FrozenClip
    encode: Callable[[Pairs], tuple[Tensor, ...]]
    loss: Callable[[tuple[Tensor, ...], Tensor], Tensor]
    chunk: int
    scaler: torch.amp.GradScaler
    team: Team
    device: torch.device

    def backward(self, batch: Pairs, *, total: int) -> Tensor:
        """Add the gradient to the trained tensors and return the loss, the same in every process; `batch` is its part of `total` pairs."""
        size = self.chunk or len(batch.ids)
        pieces = [(start, start + size) for start in range(0, len(batch.ids), size)]
        if len(pieces) == 1:
            own = self.encode(_taken(batch, pieces[0], self.device))
            loss, gradients = self._loss(own, batch.mask, total=total)
            _backward(own, gradients)
        else:
            before, own = self._without_graph(batch, pieces)
            loss, gradients = self._loss(own, batch.mask, total=total)
            del own
            for (start, stop), state in zip(pieces, before, strict=True):
                with _replayed(state, self.device):
                    again = self.encode(_taken(batch, (start, stop), self.device))
                _backward(again, [part[start:stop] for part in gradients])
        self.team.add_up(p.grad for p in self.clip.trained().values() if p.grad is not None)
        return loss

    def _without_graph(self, batch: Pairs, pieces: list[tuple[int, int]]) -> tuple[list[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """The state of the random generators before each piece, and the features of all."""
        before, made = [], []
        for piece in pieces:
            before.append(random_state(self.device))
            with torch.no_grad():
                made.append(self.encode(_taken(batch, piece, self.device)))
        return before, tuple(torch.cat(parts) for parts in zip(*made, strict=True))

    def _loss(self, own: tuple[Tensor, ...], mask: Tensor, *, total: int) -> tuple[Tensor, list[Tensor]]:
        """The loss over the features of all processes, and its gradient with respect to each kind of one's own."""
        features = tuple(self.team.gather(part.detach(), total=total).requires_grad_() for part in own)
        masks = self.team.gather(mask.to(self.device, non_blocking=True), total=total)
        loss = self.loss(features, masks)
        self.scaler.scale(loss).backward()
        if not self.team.first:
            # The temperature, which the loss itself trains, has its whole gradient in every process, and is to be counted once.
            for gradient in (p.grad for p in self.clip.trained().values() if p.grad is not None):
                gradient.zero_()
        mine = self.team.share(np.arange(total))
        return loss.detach(), [_gradient(whole)[mine[0] : mine[-1] + 1] for whole in features]


def prepare(clip: FrozenClip, split: Split, *, settings: Train, team: Team, device: torch.device) -> Step:
    """The step that `settings` ask for, with a CLIP that computes in their precision from now on.

    ValueError without the extra captions that the method reads.
    """
    clip.compute_in(precision(settings.precision, device))
    if clip.extra_captions != (split.extra is not None):
        raise ValueError(
            "the method trains with a caption of each frame, and no file of them is given; name it under captions_extra of the run"
            if clip.extra_captions
            else "a file with a caption of each frame is given, and the method does not read it; leave it out"
        )

    def encode(pairs: Pairs) -> tuple[Tensor, ...]:
        return split.encode(clip, pairs)

    return Step(
        clip=clip,
        encode=torch.compile(encode) if settings.compile else encode,
        loss=_loss(clip, settings.loss),
        chunk=settings.chunk,
        scaler=torch.amp.GradScaler(device.type, enabled=clip.precision == "float16"),
        team=team,
        device=device,
    )


def _loss(clip: FrozenClip, name: str) -> Callable[[tuple[Tensor, ...], Tensor], Tensor]:
    """The loss of a name over the similarities of a batch, and what the method adds to it."""
    contrast = contrast_of(clip, name)

    def loss(features: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        frames, texts, *extra = features
        similarities = scores(texts, frames, mask=mask, temperature=clip.query_temperature, weigh=clip.frame_weights)
        total = contrast(similarities)
        if clip.losses:
            batch = Batch(similarities, frames, texts, mask, extra[0] if extra else None, clip.logit_scale, contrast)
            total = total + sum(more(batch) for more in clip.losses)
        return total

    return loss


def _taken(batch: Pairs, piece: tuple[int, int], device: torch.device) -> Pairs:
    parts: Any = (None if part is None else part[slice(*piece)].to(device, non_blocking=True) for part in batch)
    return Pairs(*parts)


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None, "the loss depends on every feature"
    return leaf.grad


def _backward(features: Any, gradients: list[Tensor]) -> None:
    """Through the towers that are trained."""
    pairs = [(made, gradient) for made, gradient in zip(features, gradients, strict=True) if made.requires_grad]
    torch.autograd.backward([made for made, _ in pairs], [gradient for _, gradient in pairs])


@contextmanager
def _replayed(state: tuple[Tensor, ...], device: torch.device) -> Iterator[None]:
    """Draw again what was drawn from `state` on, and go on from the present state afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        set_random_state(state, device)
        yield
