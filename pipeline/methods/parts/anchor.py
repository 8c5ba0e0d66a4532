"""The token that stands for a frame in a layer, where a paper takes CLS. N frames, L tokens, D width."""

from typing import Any

from torch import Tensor, nn

from pipeline.clip import FrozenClip, architecture
from pipeline.clip.tower import Flow


class Anchor(nn.Module):
    """Tokens (N, L, D) -> the vector (N, D) of each frame. `kind` is that of a tower, for what a method asks of it (`wanted`).

    - `cls`: the CLS token. `patches`: the mean of the patches. `pool`: what the tower's own pool reads, norm included.
    - `auto`: cls where the tower is read there, else patches: a pool sees CLS as one token of many, and neither has parameters.

    ValueError for cls in a tower without such a token, and for pool in one without a pool.
    """

    def __init__(self, clip: FrozenClip, wanted: str, *, method: str) -> None:
        super().__init__()
        vision = clip.vision
        if wanted == "cls" and not vision.cls:
            raise ValueError(
                f"{method}: anchor is cls, but {clip.name} has no CLS token; leave it out, which takes the mean of the patches"
            )
        if wanted == "pool" and not vision.pooled:
            raise ValueError(f"{method}: anchor is pool, but {clip.name} is read at its CLS token and has no pool; leave it out")
        self.kind = wanted if wanted != "auto" else "patches" if vision.pooled else "cls"
        # Not as a module of its own: the adapter would have CLIP's tensors.
        self._visual: tuple[Any, ...] = (clip.model.visual,) if self.kind == "pool" else ()

    def forward(self, tokens: Tensor, flow: Flow) -> Tensor:
        if self.kind == "cls":
            return tokens[:, 0]
        if self.kind == "patches":
            return tokens[:, -flow.patches :].mean(dim=1)
        return architecture.read(self._visual[0], tokens, flow)
