"""Open what a run reads: frames, clips, or what the frozen bottom of a tower made of videos and captions.

Shapes: B videos or captions, T frames, C captions, L tokens.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.tower import Tower
from pipeline.config.dataset import Frames
from pipeline.core.layout import FEATURES, FILES, FRAMES
from pipeline.inputs import frozen
from pipeline.inputs.frames import ClipStore, FrameStore, Videos, described_as
from pipeline.inputs.rows import Rows


class TokenStore:
    """A file of tokens open for reading: `level` of the `tower`, of the rows `ids`; of videos also `num_frames` and the frame `mask`.

    Raises ValueError for a file that is not there, damaged, or made with something else than is `expected` (attribute -> value), and for
    a level that what is attached to `clip` changes.
    """

    def __init__(self, path: Path, *, clip: FrozenClip, tower: Tower, expected: dict[str, Any]) -> None:
        self.path, self._rows = path, Rows(path, rule="features")
        attrs = self.attrs = self._rows.attrs
        for key, value in ({"tower": tower.name, "backbone_digest": clip.digest} | expected).items():
            if attrs.get(key) != value:
                raise self._rows.damaged(f"its {key} is {attrs.get(key)!r}, not {value!r}")
        self.kind = str(attrs["level"])
        self.level = tower.top + 1 if self.kind == FEATURES else int(self.kind)
        reach = frozen.reaches(clip)[tower.name]
        if self.level > reach.level:
            raise ValueError(f"{path} cannot be used by this method: {frozen.reason(reach)}")
        self.ids = self.video_ids = self._rows.ids
        self._dtype = getattr(torch, str(attrs["dtype"]))
        if tower is clip.vision:
            self.num_frames = int(attrs["number"])
            self.mask = self._rows.column("mask", shape=(self.num_frames,))

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self, rows: Sequence[int]) -> Tensor:
        """Tokens (B, ...) of these rows, in that order and in the type they are stored in. ValueError names a row that is damaged."""
        return torch.from_numpy(self._rows.read("tokens", rows)).view(self._dtype)

    def batch(self, rows: Sequence[int]) -> Videos:
        """The same of videos, with their frame masks."""
        return Videos(self.tokens(rows), torch.from_numpy(self.mask[np.asarray(rows, np.int64)]))

    def token_ids(self, length: int) -> Tensor:
        """The token ids (C, L) of the captions that were stored."""
        return torch.from_numpy(self._rows.column("ids", shape=(length,)))


def video_store(path: Path, *, clips: Path | None, clip: FrozenClip, frames: Frames) -> FrameStore | ClipStore | TokenStore:
    """The videos of a split: a frames.h5, a file of tokens, or a videos.parquet with its folder of clips.

    ValueError if other frames are stored than asked for, or pictures that the backbone does not see.
    """
    refuse_pictures(frames, clip, where=f"{path}: ")
    wanted = described_as(frames)
    if path.suffix == ".parquet":
        assert clips is not None, "clips are in a folder"
        return ClipStore(path, clips, settings=frames)
    if path.name != FILES[FRAMES]:
        return TokenStore(path, clip=clip, tower=clip.vision, expected=wanted | {"preprocessing": clip.preprocessing})
    store = FrameStore(path)
    usual = {entry.name: entry.default for entry in fields(Frames) if "later" in entry.metadata}
    for key, value in (usual | wanted).items():
        if store.attrs.get(key, usual.get(key)) != value:
            raise ValueError(f"{path} holds frames with {key} {store.attrs.get(key)!r}, not {value!r}; delete it and re-run rule frames")
    return store


def refuse_pictures(frames: Frames, clip: FrozenClip, *, where: str = "") -> None:
    """ValueError for frames of another size than the backbone sees, or made square in another way than it was trained with."""
    if frames.size != clip.image_size:
        raise ValueError(f"{where}frames.size is {frames.size}, but {clip.name} sees {clip.image_size} pixels; set frames.size to that")
    for key, value in (("resize", clip.resize), ("interpolation", clip.interpolation)):
        if (own := getattr(frames, key)) != value:
            raise ValueError(f"{where}frames.{key} is {own}, but {clip.name} was trained with {value}; set frames.{key} to that")


def text_store(path: Path, *, clip: FrozenClip, ids: Tensor, caption_ids: list[str]) -> TokenStore:
    """The captions of a split above level 0. ValueError if other captions are stored than `ids` (C, L) and `caption_ids` say."""
    store = TokenStore(path, clip=clip, tower=clip.text, expected={"words": ids.shape[1]})
    if store.ids != caption_ids or not bool((store.token_ids(ids.shape[1]) == ids).all()):
        raise ValueError(f"{path} was made of other captions than the split has; delete it and re-run rule features")
    return store
