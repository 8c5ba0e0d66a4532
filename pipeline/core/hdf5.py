"""HDF5 files that are written whole or not at all, and read without locks.

HDF5 follows what a file says of itself: where an old layout is damaged it may loop for ever or crash, and so does the process. A file
written here has a checksum on each of its parts, of which none is read before: LAYOUT for all that says where arrays lie, Fletcher-32 for
arrays, and no text of any length, which lies in a heap that has none. Damage is then an error. Files of the old layout are still read,
without this guard; and no checksum guards against who computes it anew, so a file of a stranger is as safe as the stranger.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.core.files import Disk, refuse_small_disk, whole

LAYOUT = ("v110", "v110")  # the first with checksums of all that says where arrays lie; HDF5 1.10 and later read it
CHUNK = 256  # rows of arrays that are read whole

# What a system says of a file that it has not looked into.
REFUSALS = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
REFUSALS |= {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EAGAIN}


@contextmanager
def written(target: Path, *, needed: int = 0) -> Iterator[h5py.File]:
    """A new file that gets its name when the block ends well.

    OSError, which names `target`, if the disk has not the `needed` bytes free, or fills up.
    """
    with whole(target) as part:
        refuse_small_disk(target.parent, needed, what=target.name)
        with Disk(part, target) as disk:
            try:
                with new(disk) as file:
                    yield file
            finally:
                if disk.failure:  # whatever HDF5 made of it
                    disk.settle()
            disk.settle()


def new(disk: Disk) -> h5py.File:
    """An empty file in the layout with checksums, open for writing."""
    return h5py.File(disk, "w", libver=LAYOUT)


def create(file: h5py.File, name: str, *, shape: tuple[int, ...], dtype: Any, rows: int = CHUNK, **settings: Any) -> h5py.Dataset:
    """An array in chunks of `rows`, each with a checksum. `settings` are h5py's."""
    chunks = (max(min(rows, shape[0]), 1), *shape[1:])
    longest = (None, *shape[1:])  # without which there is no chunk for an array without rows
    return file.create_dataset(
        name, shape=shape, dtype=dtype, chunks=chunks, maxshape=longest, fletcher32=True, track_times=False, **settings
    )


def texts(values: Iterable[str]) -> np.ndarray:
    """Texts as an array to store, all as long as the longest."""
    made = np.array([value.encode() for value in values], dtype=np.bytes_)
    return made.astype(h5py.string_dtype("utf-8", max(made.dtype.itemsize, 1)))


def put_attributes(file: h5py.File, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        stored = texts([value]) if isinstance(value, str) else np.asarray([value])
        file.attrs.create(name, stored[0], dtype=stored.dtype)


def attributes(file: h5py.File) -> dict[str, Any]:
    """Attributes as Python has them, of this layout or of an old one."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in plain.items()}


class Refused(ValueError):
    """The system does not let a file be opened, which tells nothing of what is in it."""


def opened(path: Path) -> h5py.File:
    """A file open for reading. It never changes once it has its name, so it needs no lock, which some network disks refuse.

    OSError for what is no complete HDF5 file, or Refused.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        remedy = "unset HDF5_USE_FILE_LOCKING, which asks for locks" if "unable to lock" in str(error) else "see to that, and start again"
        raise Refused(f"{path} could not be opened ({os.strerror(error.errno)}); {remedy}") from error
