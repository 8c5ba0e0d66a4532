"""HDF5 files that are written whole or not at all, and read without locks."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from pipeline.core.files import Disk, refuse_small_disk, whole

# What a system says of a file that it has not looked into.
REFUSALS = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
REFUSALS |= {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EAGAIN}


@contextmanager
def written(target: Path, *, needed: int = 0, **settings: Any) -> Iterator[h5py.File]:
    """A new file that gets its name when the block ends well. `settings` are h5py's.

    OSError, which names `target`, if the disk has not the `needed` bytes free, or fills up.
    """
    with whole(target) as part:
        refuse_small_disk(target.parent, needed, what=target.name)
        with Disk(part, target) as disk:
            try:
                with h5py.File(disk, "w", **settings) as file:
                    yield file
            finally:
                if disk.failure:  # whatever HDF5 made of it
                    disk.settle()
            disk.settle()


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
