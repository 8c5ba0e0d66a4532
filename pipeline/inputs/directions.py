"""Both directions of time out of one store: a reversed video is the stored frames of another one in reverse order, and is stored nowhere.

Shapes: B videos, T frames.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.core.layout import REVERSED, recorded
from pipeline.inputs.frames import ClipStore, FrameStore, Videos
from pipeline.inputs.stores import TokenStore

Store = FrameStore | ClipStore | TokenStore


class Directions:
    """A store with more videos than it holds: behind its own come `reversed_ids`, in their order. It has the interface of a store."""

    def __init__(self, store: Store, reversed_ids: Sequence[str]) -> None:
        place = {video: row for row, video in enumerate(store.video_ids)}
        self._store, self.video_ids = store, [*store.video_ids, *reversed_ids]
        self._rows = [place[recorded(video)] for video in self.video_ids]
        self.kind, self.level, self.num_frames = store.kind, store.level, store.num_frames

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, rows: Sequence[int]) -> Videos:
        """The frames of the videos `rows`, in that order; a ValueError is that of the store."""
        seen, mask = self._store.batch([self._rows[row] for row in rows])
        turned = torch.tensor([row >= len(self._store) for row in rows])
        if turned.any():
            seen[turned] = reverse(seen[turned], mask=mask[turned])
        return Videos(seen, mask)


def both(store: Store, video_ids: Sequence[str]) -> Store | Directions:
    """The store with the reversed videos among `video_ids`, which are those of captions; itself where there are none.

    A reversed video whose own is not in the store is left to whoever compares the ids of the two.
    """
    known = set(store.video_ids)
    wanted = [video for video in dict.fromkeys(video_ids) if video.endswith(REVERSED) and recorded(video) in known]
    return Directions(store, wanted) if wanted else store


def reverse(frames: Tensor, *, mask: Tensor) -> Tensor:
    """The twin of each video: its real frames in reverse order, (B, T, ...) -> the same; padding stays where it is."""
    stays = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    real_first = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    opposite = mask.sum(dim=1, keepdim=True) - mask.cumsum(dim=1)
    order = torch.where(mask, real_first.gather(1, opposite), stays)
    return frames[torch.arange(len(frames), device=frames.device)[:, None], order]
