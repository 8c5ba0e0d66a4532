"""Read an index.h5. Whatever is wrong with the file is one sentence that names it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from pipeline.core.hdf5 import Refused, opened
from pipeline.search.index_file import CAPTION_COLUMNS, FORMAT, NUMBERS, VIDEO_COLUMNS, Rows

KINDS: dict[str, type | tuple[type, ...]] = {
    "gallery": str,
    "kind": str,
    "source": str,
    "root": str,
    "backbone": dict,
    "backbone_digest": str,
    "run": str,
    "seed": int,
    "adapter": str,
    "adapter_sha256": str,
    "shape": dict,
    "temperature": (float, type(None)),
    "num_videos": int,
    "num_captions": int,
    "search": dict,
    "skipped": list,
    "degraded": list,
}


class Reader:
    """An index open for reading: `about`, the tables `videos` and `captions`, and arrays when they are asked for.

    What was opened stays as it was when an update puts another file in its place. ValueError for a file that is not there, damaged, or of
    another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ValueError(f"there is no index {path}; make it with python -m pipeline.stages.index")
        self._whole: dict[str, np.ndarray] = {}
        with self.sound():
            self._file = opened(path)
            try:
                self._read_all()
            except BaseException:
                self._file.close()
                raise

    def _read_all(self) -> None:
        self.about = _about(self._file)
        videos, captions = self.about["num_videos"], self.about["num_captions"]
        self.videos = _table(self._file, "videos", VIDEO_COLUMNS, rows=videos)
        self.captions = _table(self._file, "captions", CAPTION_COLUMNS, rows=captions)
        self.temperature: float | None = self.about["temperature"]
        frames = _expect(self._file, "frames", (videos, None, None), np.float32)
        self.num_frames, self.width = int(frames.shape[1]), int(frames.shape[2])
        self.frame_bytes = int(frames.nbytes)
        _expect(self._file, "mask", (videos, self.num_frames), np.bool_)
        _expect(self._file, "times", (videos, self.num_frames), np.float64)
        _expect(self._file, "text", (captions, self.width), np.float32)
        if self.temperature is None:
            _expect(self._file, "video", (videos, self.width), np.float32)
        if self.about["search"].get("kind") == "approximate":
            _expect(self._file, "faiss", (None,), np.uint8)
        if not all(-1 <= row < videos for row in self.captions["row"]):
            raise ValueError("a text belongs to a video that is not there")

    def whole(self, name: str) -> np.ndarray:
        """An array, kept in memory from then on."""
        if name not in self._whole:
            with self.sound():
                self._whole[name] = self._file[name][:]
        return self._whole[name]

    def forget(self, name: str) -> None:
        """Give the memory of an array back."""
        self._whole.pop(name, None)

    def row(self, name: str, row: int) -> np.ndarray:
        """That of one video."""
        with self.sound():
            found: np.ndarray = self._whole[name][row] if name in self._whole else self._file[name][row]
        return found

    def rows(self, wanted: np.ndarray) -> Rows:
        """All arrays of some videos, in that order."""
        # HDF5 reads in the order of the file, each row once, and a block much faster than single rows.
        unique, inverse = np.unique(wanted, return_inverse=True)
        block = slice(unique[0], unique[-1] + 1) if unique[-1] - unique[0] < len(unique) else unique
        with self.sound():
            frames, mask, times = (self._file[name][block][inverse] for name in ("frames", "mask", "times"))
            video = self._file["video"][block][inverse] if self.temperature is None else None
        return Rows(video=video, frames=frames, mask=mask, times=times)

    def part(self, name: str, start: int, number: int) -> np.ndarray:
        """The rows from `start` on, so many or what is left."""
        with self.sound():
            found: np.ndarray = (self._whole.get(name, self._file[name]))[start : start + number]
        return found

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def sound(self) -> Iterator[None]:
        """HDF5 raises many kinds of errors for one damaged file."""
        try:
            yield
        except Refused:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(f"{self.path} cannot be used: {why}; delete it and index again") from error


def _about(file: h5py.File) -> dict[str, Any]:
    about = json.loads(bytes(file["about"][:]))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"it is no index of format {FORMAT}")
    for key, kind in KINDS.items():
        if key not in about or not isinstance(about[key], kind):
            raise ValueError(f"its {key!r} is missing or of another type")
    if not all(isinstance(about["backbone"].get(key), str) for key in ("name", "weights")):
        raise ValueError("it does not name its backbone")
    return about


def _table(file: h5py.File, name: str, columns: Mapping[str, type], *, rows: int) -> pd.DataFrame:
    found: dict[str, pd.Series] = {}
    for column, kind in columns.items():
        stored = file[f"{name}/{column}"]
        if stored.shape != (rows,) or (kind is str and stored.dtype.kind not in "SO"):
            raise ValueError(f"its {name}/{column} has not {rows} rows")
        if kind is str:
            found[column] = pd.Series([value.decode() for value in stored[:]], dtype=object)
        else:
            found[column] = pd.Series(_expect(file, f"{name}/{column}", (rows,), NUMBERS[kind])[:])
    return pd.DataFrame(found)


def _expect(file: h5py.File, name: str, shape: tuple[int | None, ...], dtype: Any) -> h5py.Dataset:
    """The array `name`, of this type and shape, where None is any length."""
    found = file.get(name)
    fits = isinstance(found, h5py.Dataset) and found.dtype == np.dtype(dtype) and len(found.shape) == len(shape)
    if not fits or any(wanted not in (None, there) for wanted, there in zip(shape, found.shape, strict=True)):
        raise ValueError(f"its {name!r} is missing, or has another shape or type")
    return found
