"""One split as tensors: videos from the store that a run may use, captions as token ids, or what a frozen text tower made of them.

B videos, T frames, C captions, L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.config.settings import Sampling
from pipeline.core.layout import CAPTIONS
from pipeline.inputs.directions import Directions, both
from pipeline.inputs.extra import read_extra
from pipeline.inputs.frames import ClipStore, FrameStore, Videos
from pipeline.inputs.stores import TokenStore, text_store, video_store


class Texts(NamedTuple):
    """Token ids (B, L) of some captions, and what is stored of them above level 0."""

    ids: Tensor
    said: Tensor | None


class Pairs(NamedTuple):
    """Captions with their videos: `Videos` and `Texts`. `extra`: token ids (B, T, L) of a caption of each frame, None without them."""

    seen: Tensor
    mask: Tensor
    ids: Tensor
    said: Tensor | None
    extra: Tensor | None = None


@dataclass(frozen=True)
class Split:
    """Captions `ids` (C, L) of the videos `video` (C,). `directed` (C,): whether it names a direction of time; `action`: by what kind.

    Videos are at the level `store.level` of the vision tower, captions at `text.level` of the text tower, 0 without a `text`. `extra`:
    token ids (V, T, L) of a caption of each frame of all V videos, by their rows in the store; None where a run does not read them.
    """

    store: FrameStore | ClipStore | TokenStore | Directions
    text: TokenStore | None
    ids: Tensor
    video: np.ndarray
    directed: np.ndarray
    caption_ids: list[str]
    action: list[str] = field(default_factory=list)
    extra: Tensor | None = None

    @property
    def stores(self) -> dict[str, str]:
        """The stores that videos and captions are read from, as params.yaml names them."""
        return {"store": self.store.kind, "text_store": CAPTIONS if self.text is None else self.text.kind}

    def videos(self, rows: np.ndarray) -> Videos:
        """Rows of the store. ValueError for a video without a real frame, which has no mean."""
        found = self.store.batch(rows.tolist())
        refuse_empty(found.mask, [self.store.video_ids[row] for row in rows.tolist()])
        return found

    def texts(self, rows: np.ndarray) -> Texts:
        """Captions by their rows."""
        return Texts(self.ids[rows], None if self.text is None else self.text.tokens(rows.tolist()))

    def pairs(self, captions: np.ndarray) -> Pairs:
        """Captions by their rows, each with its video."""
        rows = self.video[captions]
        return Pairs(*self.videos(rows), *self.texts(captions), None if self.extra is None else self.extra[rows])

    def encode_videos(self, clip: FrozenClip, videos: Videos | Pairs) -> Tensor:
        """Frame features (B, T, E)."""
        return clip.encode_frames(videos.seen, mask=videos.mask, start=self.store.level)

    def encode_texts(self, clip: FrozenClip, texts: Texts | Pairs) -> Tensor:
        """Text features (B, E)."""
        return clip.encode_text(texts.ids, texts.said, start=0 if self.text is None else self.text.level)

    def encode(self, clip: FrozenClip, pairs: Pairs) -> tuple[Tensor, ...]:
        """The features that a training's losses compare: of frames (B, T, E), of texts (B, E), and of extra captions (B, T, E)."""
        features = self.encode_videos(clip, pairs), self.encode_texts(clip, pairs)
        if pairs.extra is None:
            return features
        return *features, clip.encode_text(pairs.extra.flatten(0, 1), mask=pairs.mask).unflatten(0, pairs.mask.shape)


@dataclass(frozen=True)
class Files:
    """The files of a split. `videos`: a frames.h5, a file of tokens, or a videos.parquet and its `clips`. `text`: a file of tokens.

    `extra`: a CSV file with a caption of each frame (inputs/extra.py), for methods that train with them.
    """

    videos: Path
    captions: Path
    text: Path | None = None
    clips: Path | None = None
    extra: Path | None = None

    def given(self) -> dict[str, Path]:
        """The files among them, by what they are."""
        named = {"videos": self.videos, "captions": self.captions, "text": self.text, "extra": self.extra}
        return {key: path for key, path in named.items() if path}


def open_split(files: Files, *, clip: FrozenClip, shape: Sampling) -> Split:
    """Open a split for a CLIP to which a method is attached.

    ValueError if videos and captions do not belong together, or a file does not fit the backbone, the `shape`, or the method.
    """
    table = pd.read_parquet(files.captions)
    store = both(video_store(files.videos, clips=files.clips, clip=clip, frames=shape.frames), table["video_id"].tolist())
    row = {video: number for number, video in enumerate(store.video_ids)}
    strangers = sorted(set(table["video_id"]) ^ set(row))
    if strangers:
        raise ValueError(f"{files.videos} and {files.captions} differ in {len(strangers)} videos, {strangers[0]!r} first; make both again")
    ids = clip.tokenize(table["text"].tolist(), num_words=shape.words)
    return Split(
        store=store,
        text=text_store(files.text, clip=clip, ids=ids, caption_ids=table["caption_id"].tolist()) if files.text else None,
        ids=ids,
        video=table["video_id"].map(row).to_numpy(np.int64),
        directed=table["directed"].to_numpy(bool),
        caption_ids=table["caption_id"].tolist(),
        action=table["action"].tolist(),
        extra=read_extra(files.extra, clip=clip, video_ids=store.video_ids, shape=shape) if files.extra else None,
    )


def refuse_empty(mask: Tensor, video_ids: Sequence[str]) -> None:
    """ValueError if one of these videos has no real frame. Asked of masks (B, T) on the CPU: a GPU would be waited for."""
    empty = (~mask.any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"video {video_ids[empty[0]]!r} has no real frame; transcoding should have listed it as missing")
