"""From frame features to scores. B videos, T frames, E embedding, Q queries, G gallery, K pairs."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Weigh = Callable[[Tensor, Tensor], Tensor]


def pool(frames: Tensor, *, mask: Tensor, weigh: Weigh | None = None) -> Tensor:
    """Frame features (B, T, E) and their mask (B, T) -> unit video vectors (B, E).

    Each frame is normalised, the real frames are averaged, the mean is normalised again (mv_adapter.md 5, vop.md 1;
    CLIP4Clip's `meanP`); by their weights where something may `weigh` features under their mask (`FrozenClip.frame_weights`). A video
    without a real frame is an error: its mean would be 0/0.
    """
    _refuse_empty(mask)
    weight = mask.to(frames.dtype) if weigh is None else weigh(frames, mask).masked_fill(~mask, 0)
    weight = weight.unsqueeze(-1)
    mean = (F.normalize(frames, dim=-1) * weight).sum(dim=1) / weight.sum(dim=1)
    return F.normalize(mean, dim=-1)


def scores(texts: Tensor, frames: Tensor, *, mask: Tensor, temperature: float | None, weigh: Weigh | None = None) -> Tensor:
    """Text features (Q, E) against frame features (G, T, E) with their mask (G, T) -> cosines (Q, G).

    Without a temperature frames are averaged, as `pool` may `weigh` them, with one they are weighed by each query (`query_scores`).
    """
    if temperature is None:
        return F.normalize(texts, dim=-1) @ pool(frames, mask=mask, weigh=weigh).T
    return query_scores(texts, frames, mask=mask, temperature=temperature)


def query_scores(texts: Tensor, frames: Tensor, *, mask: Tensor, temperature: float) -> Tensor:
    """Cosines (Q, G) of texts with videos whose frames are weighed by softmax(<text, frame> / temperature), nothing normalised before.

    Cross-Modal Adapter, section 3.3 (peers.md E 3). Every pair has a video vector of its own, so this costs Q*G*T; it is computed
    from inner products, without the (Q, G, E) vectors.
    """
    _refuse_empty(mask)
    dots = torch.einsum("qe,gte->qgt", texts, frames)
    return _cosine(dots, frames @ frames.mT, texts.norm(dim=-1)[:, None], mask=mask, temperature=temperature)


def query_pair_scores(texts: Tensor, frames: Tensor, *, mask: Tensor, temperature: float) -> Tensor:
    """The same for pairs: texts (K, E) and the frames of their own videos (K, T, E) -> (K,)."""
    dots = torch.einsum("ke,kte->kt", texts, frames)
    return _cosine(dots, frames @ frames.mT, texts.norm(dim=-1), mask=mask, temperature=temperature)


def _cosine(dots: Tensor, gram: Tensor, norm: Tensor, *, mask: Tensor, temperature: float) -> Tensor:
    """Inner products with frames (..., T) and of frames with each other (..., T, T) -> cosine with their weighted sum (...)."""
    weight = (dots / temperature).masked_fill(~mask, float("-inf")).softmax(dim=-1)
    square = torch.einsum("...t,...ts,...s->...", weight, gram, weight)
    return (weight * dots.masked_fill(~mask, 0)).sum(dim=-1) / (norm * square.sqrt())


def _refuse_empty(mask: Tensor) -> None:
    """Not asked of a GPU, which would be waited for: what reads the videos has asked before (`Split.videos`)."""
    if mask.device.type == "cpu" and not bool(mask.any(dim=1).all()):
        raise ValueError("a video has no real frame; transcoding should have listed it as missing")
