"""One split as tensors: frames from the HDF5 store, captions as tokens. B videos, T frames, C captions, L tokens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.video.store import FrameStore


@dataclass(frozen=True)
class Split:
    """Captions `ids` (C, L) of the videos `video` (C,), and which of them name a direction of time `directed` (C,)."""

    store: FrameStore
    ids: Tensor
    video: np.ndarray
    directed: np.ndarray
    caption_ids: list[str]

    def frames(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows of the store -> frames (B, T, 3, S, S) uint8 and their mask (B, T)."""
        frames, mask = self.store.batch(rows.tolist())
        return torch.from_numpy(frames), torch.from_numpy(mask)


def open_split(frames: Path, captions: Path, *, clip: FrozenClip, num_words: int) -> Split:
    """Open a split. ValueError if frames and captions do not name the same videos, or the frames do not fit the backbone."""
    store = FrameStore(frames)
    if store.size != clip.image_size:
        raise ValueError(f"{frames} holds frames of {store.size} pixels, but {clip.name} sees {clip.image_size}; set frames.size to that")
    table = pd.read_parquet(captions)
    row = {video: number for number, video in enumerate(store.video_ids)}
    strangers = sorted(set(table["video_id"]) ^ set(row))
    if strangers:
        raise ValueError(f"{frames} and {captions} differ in {len(strangers)} videos, {strangers[0]!r} first; run rule frames again")
    return Split(
        store=store,
        ids=clip.tokenize(table["text"].tolist(), num_words=num_words),
        video=table["video_id"].map(row).to_numpy(np.int64),
        directed=table["directed"].to_numpy(bool),
        caption_ids=table["caption_id"].tolist(),
    )


def reverse(frames: Tensor, *, mask: Tensor) -> Tensor:
    """The twin of each video: its real frames in reverse order, (B, T, ...) -> the same; padding stays where it is."""
    order = torch.arange(mask.shape[1]).repeat(len(mask), 1)
    for row, real in enumerate(mask):
        places = real.nonzero()[:, 0]
        order[row, places] = places.flip(0)
    return frames[torch.arange(len(frames))[:, None], order]
