"""The symmetric cross-entropy of CLIP over the similarities of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(texts: Tensor, videos: Tensor, *, scale: Tensor) -> Tensor:
    """Unit vectors (B, E) whose rows belong together -> the mean of the text-to-video and video-to-text cross-entropies."""
    logits = scale * texts @ videos.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
