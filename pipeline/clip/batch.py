"""A batch of training as its losses see it: features of all pairs, whichever process or piece computed them.

B pairs of a caption and a video, T frames, E embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Features are as the towers give them, not normalised; the loss of a run is a function of these tensors alone.

    `similarities` (B, B): cosines of texts with videos. `frames` (B, T, E) with their `mask` (B, T), `texts` (B, E). `extra` (B, T, E): of
    the extra captions, one a frame, under the mask of the frames; None where the method does not read any. `scale` is CLIP's inverse
    temperature. `contrast`: the run's own loss of any cosines (B, B) of captions with videos.
    """

    similarities: Tensor
    frames: Tensor
    texts: Tensor
    mask: Tensor
    extra: Tensor | None
    scale: Tensor
    contrast: Callable[[Tensor], Tensor]
