"""From frame features to one vector a video. B videos, T frames, E embedding."""

import torch.nn.functional as F
from torch import Tensor


def pool(frames: Tensor, *, mask: Tensor) -> Tensor:
    """Frame features (B, T, E) and their mask (B, T) -> unit video vectors (B, E).

    Each frame is normalised, the real frames are averaged, the mean is normalised again (mv_adapter.md 5, vop.md 1;
    CLIP4Clip's `meanP`). A video without a real frame is an error: its mean would be 0/0.
    """
    if not bool(mask.any(dim=1).all()):
        raise ValueError("a video has no real frame; transcoding should have listed it as missing")
    weight = mask.unsqueeze(-1).to(frames.dtype)
    mean = (F.normalize(frames, dim=-1) * weight).sum(dim=1) / weight.sum(dim=1)
    return F.normalize(mean, dim=-1)
