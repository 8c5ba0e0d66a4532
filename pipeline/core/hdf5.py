"""HDF5 files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from pipeline.core.files import Disk, refuse_small_disk, whole


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
