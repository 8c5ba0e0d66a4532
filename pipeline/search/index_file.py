"""index.h5: one file an index, written whole, so that a reader has the old one or the new one.

V videos, T frames a video, C captions, E embedding.

about      JSON: what it was made from and with
videos/    a column each of VIDEO_COLUMNS, V rows
video      (V, E) float32 unit vectors; absent where queries weigh frames
frames     (V, T, E) float32, mask (V, T), times (V, T) in seconds of the clip, 0 for padding
captions/  a column each of CAPTION_COLUMNS, C rows
text       (C, E) float32
faiss      the bytes of an approximate index, where there is one
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

from pipeline.core.hdf5 import CHUNK, create, texts

FORMAT = 1
VIDEO_COLUMNS: dict[str, type] = {
    "video_id": str,
    "clip": str,
    "clip_sha256": str,
    "source": str,
    "src_sha256": str,
    "start": float,
    "duration": float,
    "title": str,
}
CAPTION_COLUMNS: dict[str, type] = {"caption_id": str, "text": str, "row": int}
NUMBERS = {float: "<f8", int: "<i8"}


class Rows(NamedTuple):
    """Some videos: `video` (B, E) or None, `frames` (B, T, E), `mask` (B, T), `times` (B, T)."""

    video: np.ndarray | None
    frames: np.ndarray
    mask: np.ndarray
    times: np.ndarray


def put_rows(file: h5py.File, number: int, blocks: Iterator[Rows]) -> None:
    """The arrays of `number` videos, block by block."""
    start = 0
    for block in blocks:
        for name, values in block._asdict().items():
            if values is None:
                continue
            if name not in file:
                # A hit reads the frames of its own video and of no other.
                create(file, name, shape=(number, *values.shape[1:]), dtype=values.dtype, rows=1 if name == "frames" else CHUNK)
            file[name][start : start + len(values)] = values
        start += len(block.frames)
    assert start == number, f"{start} of {number} rows"


def put_table(file: h5py.File, name: str, table: pd.DataFrame, columns: Mapping[str, type]) -> None:
    for column, kind in columns.items():
        values = texts(table[column]) if kind is str else table[column].to_numpy(NUMBERS[kind])
        # Texts of one length are mostly padding.
        create(file, f"{name}/{column}", shape=values.shape, dtype=values.dtype, compression="gzip")[:] = values


def put_bytes(file: h5py.File, name: str, content: bytes) -> None:
    values = np.frombuffer(content, np.uint8)
    create(file, name, shape=values.shape, dtype=np.uint8, rows=2**20)[:] = values
