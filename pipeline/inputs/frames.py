"""Where frames come from: one HDF5 file of a split's sampled frames, or its clips, decoded when they are asked for.

Both give the same tensors. Shapes: V videos, T frames a video, S pixels a side, B videos of a batch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.dataset import Frames
from pipeline.config.parse import stated
from pipeline.core.layout import CLIPS, FRAMES
from pipeline.inputs.rows import Rows
from pipeline.inputs.writer import Column, Writer, write

Clips = Sequence[tuple[str, Path]]


class Videos(NamedTuple):
    """Some videos: `seen` (B, T, 3, S, S) uint8, or what a frozen tower made of them, and the `mask` (B, T) of real frames."""

    seen: Tensor
    mask: Tensor


def write_frames(target: Path, clips: Clips, *, settings: Frames, attrs: dict[str, str], made_from: Sequence[str] = ()) -> None:
    """Sample each clip, given as (video_id, file), and write all to `target`, which is there whole or not at all.

    frames (V, T, 3, S, S) uint8, mask (V, T) bool, index (V, T) int32 with -1 for padding, id (V,) utf-8. Equal input gives equal
    bytes, whether the writing was killed on the way or not; `made_from` as in `writer.Writer`. Raises ValueError for a clip that does
    not decode, and OSError for a disk that is full.
    """
    if not clips:
        raise ValueError(f"there is no clip to sample for {target}; see the reasons in the reports of rule transcode")
    number, size = settings.number, settings.size
    columns = {
        "frames": Column((number, 3, size, size), "u1"),
        "index": Column((number,), "i4", small=True),
        "mask": Column((number,), "?", small=True),
    }
    described = attrs | described_as(settings)
    writer = Writer(target, ids=[video_id for video_id, _ in clips], columns=columns, attrs=described, made_from=made_from)
    write(writer, _rows(clips[writer.done :], settings), label="frames")


def described_as(settings: Frames) -> dict[str, Any]:
    """The header of a file of frames, on which it and its reader must agree."""
    return {key: value for key, value in stated(settings).items() if key in ("grid", "number", "size", "resize", "interpolation")}


def _rows(clips: Clips, settings: Frames) -> Iterator[dict[str, np.ndarray]]:
    for _, path in clips:
        pictures, index, mask = _sampled(path, settings)
        yield {"frames": pictures[None], "index": np.array([index], np.int32), "mask": np.array([mask])}


def _sampled(path: Path, settings: Frames) -> tuple[NDArray[np.uint8], list[int], list[bool]]:
    """As `video.sample` does it, which needs PyAV: a machine that reads stored frames only may be without."""
    from pipeline.video.sample import sampled

    return sampled(path, settings)


class FrameStore:
    """A frames.h5 open for reading.

    `video_ids`: list of V; `num_frames`: T; `size`: S in pixels; `attrs`: dataset, split, grid, recipe ...
    Raises ValueError for a file that is not there, damaged, or of another format.
    """

    kind, level = FRAMES, 0

    def __init__(self, path: Path) -> None:
        self.path, self._rows = path, Rows(path, rule="frames")
        self.attrs, self.video_ids = self._rows.attrs, self._rows.ids
        try:
            self.num_frames, self.size = int(self.attrs["number"]), int(self.attrs["size"])
        except KeyError as error:
            raise self._rows.damaged("a part of it is missing") from error
        self._rows.expect("frames", shape=(self.num_frames, 3, self.size, self.size))
        self.mask: NDArray[np.bool_] = self._rows.column("mask", shape=(self.num_frames,))

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, rows: Sequence[int]) -> Videos:
        """The frames of the videos `rows`, in that order. ValueError names a video whose frames are damaged."""
        return Videos(torch.from_numpy(self._rows.read("frames", rows)), torch.from_numpy(self.mask[np.asarray(rows, np.int64)]))

    def close(self) -> None:
        self._rows.close()

    def __enter__(self) -> "FrameStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClipStore:
    """The clips of a split, which `table` (videos.parquet) names in the folder `clips`, sampled anew by each `batch`: nothing is stored."""

    kind, level = CLIPS, 0

    def __init__(self, table: Path, clips: Path, *, settings: Frames) -> None:
        self.path = table
        self._clips, self.recipe, self.digests = listed(table, clips)
        self._settings = settings
        self.video_ids = [video_id for video_id, _ in self._clips]
        self.num_frames, self.size = settings.number, settings.size
        self.attrs: dict[str, Any] = {"recipe": self.recipe} | described_as(settings)

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, rows: Sequence[int]) -> Videos:
        """The frames of the videos `rows`, in that order. ValueError names a clip that does not decode."""
        number, size = self.num_frames, self.size
        pictures, mask = np.empty((len(rows), number, 3, size, size), np.uint8), np.empty((len(rows), number), np.bool_)
        for place, row in enumerate(rows):
            pictures[place], _, mask[place] = _sampled(self._clips[int(row)][1], self._settings)
        return Videos(torch.from_numpy(pictures), torch.from_numpy(mask))


def listed(table: Path, clips: Path) -> tuple[Clips, str, list[str]]:
    """The clips (video_id, file) of a split's videos.parquet, the recipe that made them, and their SHA-256. ValueError for two recipes."""
    found = pd.read_parquet(table, columns=["video_id", "out_path", "out_sha256", "recipe"])
    recipes = sorted(set(found["recipe"]))
    if len(recipes) > 1:
        raise ValueError(f"{table}: the clips were made by {len(recipes)} recipes, {', '.join(recipes)}; re-run rule transcode")
    paths = [(video_id, clips / path) for video_id, path in zip(found["video_id"], found["out_path"], strict=True)]
    return paths, "".join(recipes), found["out_sha256"].tolist()
