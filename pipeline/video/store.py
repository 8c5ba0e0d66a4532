"""The sampled frames of a split in one HDF5 file: written once, then only read.

Shapes: V videos, T frames a video, S pixels a side, B videos of a batch.
"""

import errno
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.files import whole
from pipeline.params import Frames
from pipeline.progress import track
from pipeline.video.grid import pick
from pipeline.video.sample import Pictures, num_frames_and_rate, read_frames

FORMAT = 1


def write_frames(target: Path, clips: list[tuple[str, Path]], *, settings: Frames, attrs: dict[str, str]) -> None:
    """Sample each clip, given as (video_id, file), and write all to `target`, which is there whole or not at all.

    frames (V, T, 3, S, S) uint8, mask (V, T) bool, index (V, T) int32 with -1 for padding, video_id (V,) utf-8. Equal input
    gives equal bytes. Raises ValueError for a clip that does not decode, and OSError for a disk that is full.
    """
    if not clips:
        raise ValueError(f"there is no clip to sample for {target}; see the reasons in the reports of rule transcode")
    needed = len(clips) * settings.number * 3 * settings.size**2
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"the frames need {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free", str(target))
    with whole(target) as part, _Disk(part, target) as disk:
        with h5py.File(disk, "w") as file:
            _fill(file, clips, settings=settings, attrs=attrs, disk=disk)
        disk.settle()


class _Disk(io.FileIO):
    """A file that keeps the first error to itself until asked: HDF5 crashes the interpreter if it cannot write on closing."""

    def __init__(self, part: Path, target: Path) -> None:
        super().__init__(part, "w+")
        self.target = target
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        total = len(left)
        try:
            # A disk that is almost full takes a part of the data without complaint.
            while left and self.failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return total

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raises OSError if something could not be written."""
        if self.failure is not None:
            why = os.strerror(self.failure.errno or errno.EIO)
            raise OSError(self.failure.errno, f"the frames could not be written ({why}); free some disk and re-run", str(self.target))

    def settle(self) -> None:
        """All is on the disk when this returns. Raises OSError."""
        self.check()
        os.fsync(self.fileno())


def _fill(file: h5py.File, clips: list[tuple[str, Path]], *, settings: Frames, attrs: dict[str, str], disk: _Disk) -> None:
    number, size, total = settings.number, settings.size, len(clips)
    described = {"format": FORMAT, "grid": settings.grid, "number": number, "size": size}
    for name, value in (attrs | described).items():
        file.attrs[name] = value
    shape = (number, 3, size, size)
    frames = file.create_dataset("frames", (total, *shape), np.uint8, chunks=(1, *shape), track_times=False)
    index, mask = np.empty((total, number), np.int32), np.empty((total, number), np.bool_)
    for row, (_, path) in enumerate(track(clips, total=total, label="frames")):
        frames[row], index[row], mask[row] = _sampled(path, settings)
        disk.check()
    ids = [video_id.encode() for video_id, _ in clips]
    file.create_dataset("index", data=index, track_times=False)
    file.create_dataset("mask", data=mask, track_times=False)
    kind = h5py.string_dtype("utf-8", max(map(len, ids)))
    file.create_dataset("video_id", data=np.array(ids, kind), track_times=False)


def _sampled(path: Path, settings: Frames) -> tuple[Pictures, list[int], list[bool]]:
    """The frames (T, 3, S, S) of one clip with zeros for padding, their indices, and the mask."""
    num_frames, fps = num_frames_and_rate(path)
    index, mask = pick(settings.grid, num_frames=num_frames, fps=fps, number=settings.number)
    pictures = np.zeros((settings.number, 3, settings.size, settings.size), np.uint8)
    pictures[np.array(mask)] = read_frames(path, [i for i in index if i >= 0], size=settings.size)
    return pictures, index, mask


class FrameStore:
    """A frames.h5 open for reading. A process that forks opens its own.

    `video_ids`: list of V; `num_frames`: T; `size`: S in pixels; `attrs`: dataset, split, grid, recipe ...
    Raises ValueError for a file that is not there, damaged, or of another format.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"there is no {path}; run rule frames")
        self.path = path
        try:
            # The file never changes once it has its name, and locks fail on some network disks.
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise self._damaged("it is no complete HDF5 file") from error
        try:
            self._read_contents()
        except (OSError, KeyError, AttributeError, TypeError, UnicodeDecodeError) as error:
            self.close()
            raise self._damaged("a part of it is missing or damaged") from error
        except ValueError:
            self.close()
            raise

    def _read_contents(self) -> None:
        self.attrs: dict[str, Any] = dict(self._file.attrs)
        if self.attrs["format"] != FORMAT:
            raise self._damaged(f"its format is {self.attrs['format']}, not {FORMAT}")
        self._frames = self._file["frames"]
        self.mask: NDArray[np.bool_] = self._file["mask"][:]
        self.video_ids: list[str] = [video_id.decode() for video_id in self._file["video_id"][:]]
        self.num_frames, self.size = int(self.attrs["number"]), int(self.attrs["size"])
        shape = (len(self.video_ids), self.num_frames, 3, self.size, self.size)
        if self._frames.shape != shape or self.mask.shape != shape[:2]:
            raise self._damaged(f"frames {self._frames.shape} and mask {self.mask.shape} do not fit {shape}")

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, rows: Sequence[int]) -> tuple[Pictures, NDArray[np.bool_]]:
        """Frames (B, T, 3, S, S) uint8 and mask (B, T) of the videos `rows`, in that order; False marks padding."""
        pictures = np.empty((len(rows), self.num_frames, 3, self.size, self.size), np.uint8)
        try:
            for place, row in enumerate(rows):
                pictures[place] = self._frames[int(row)]
        except OSError as error:
            raise self._damaged("frames of it cannot be read") from error
        return pictures, self.mask[np.asarray(rows, np.int64)]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _damaged(self, why: str) -> ValueError:
        return ValueError(f"{self.path} cannot be used: {why}; delete it and re-run rule frames")
