"""The symmetric cross-entropy of CLIP over the similarities of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(similarities: Tensor, *, scale: Tensor) -> Tensor:
    """Cosines (B, B) of texts with videos, own pairs on the diagonal -> the mean of the two directions' cross-entropies."""
    logits = scale * similarities
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
