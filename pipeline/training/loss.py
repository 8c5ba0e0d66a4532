"""The losses over the similarities of a batch: CLIP's symmetric cross-entropy, SigLIP's sigmoid of each pair."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
