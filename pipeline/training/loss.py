"""The losses over the similarities of a batch: CLIP's symmetric cross-entropy, SigLIP's sigmoid of each pair."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip


def contrast_of(clip: FrozenClip, name: str) -> Callable[[Tensor], Tensor]:
    """The loss of a name over similarities. ValueError for a sigmoid without the bias that comes with weights trained so."""
    if name == "softmax":
        return lambda similarities: contrastive(similarities, scale=clip.logit_scale)
    bias = clip.logit_bias
    if bias is None:
        raise ValueError(f"train.loss is sigmoid, but {clip.name} was trained with softmax and has no bias for it; set it to softmax")
    return lambda similarities: pairwise(similarities, scale=clip.logit_scale, bias=bias)


def contrastive(similarities: Tensor, *, scale: Tensor) -> Tensor:
    """Cosines (B, B) of texts with videos, own pairs on the diagonal -> the mean of the two directions' cross-entropies."""
    logits = scale * similarities
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def pairwise(similarities: Tensor, *, scale: Tensor, bias: Tensor) -> Tensor:
    """The same cosines -> the negative log-likelihood of all pairs, each true or not on its own, of a text in the mean.

    Zhai et al., SigLIP (arXiv:2303.15343), section 3.2.
    """
    true = 2 * torch.eye(len(similarities), device=similarities.device) - 1
    return -F.logsigmoid(true * (scale * similarities + bias)).sum() / len(similarities)
