"""Read a file of rows.

Its arrays have a row for each id. A damaged chunk is found by its checksum and named.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5s

from pipeline.core.hdf5 import attributes, opened

FORMAT = 2


class Rows:
    """A file of rows open for reading, by any number of processes: each that forks opens its own.

    `ids` names the rows, `attrs` says what they are. Raises ValueError for a file that is not there, damaged, or of another format.
    """

    def __init__(self, path: Path, *, rule: str) -> None:
        self.path, self.rule = path, rule
        self._file: h5py.File | None = None
        self._owner = 0
        if not path.is_file():
            raise ValueError(f"there is no {path}; run rule {rule}")
        try:
            self.attrs = attributes(self._open())
            if (found := int(self.attrs["format"])) != FORMAT:
                raise self.damaged(f"its format is {found}, not {FORMAT}")
            self.ids: list[str] = [name.decode() for name in self._open()["id"][:]]
        except (OSError, RuntimeError, KeyError, AttributeError, TypeError, UnicodeDecodeError) as error:
            raise self.damaged("it is no complete HDF5 file, or a part of it is missing or damaged") from error

    def _open(self) -> h5py.File:
        if self._owner != os.getpid():
            if self._file is not None:
                self._file.close()  # the parent's; it keeps its own
            self._file, self._owner = opened(self.path), os.getpid()
        assert self._file is not None
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_owner": 0}

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str, *, shape: tuple[int, ...]) -> np.ndarray:
        """A whole small array, which must have this shape for each row."""
        self.expect(name, shape=shape)
        try:
            values: np.ndarray = self._open()[name][:]
        except OSError as error:
            raise self.damaged(f"its {name!r} cannot be read") from error
        return values

    def expect(self, name: str, *, shape: tuple[int, ...]) -> None:
        """ValueError unless there is an array `name` of this shape for each row."""
        found = self._open().get(name)
        if not isinstance(found, h5py.Dataset) or found.shape != (len(self), *shape):
            raise self.damaged(f"a part of it is missing: {name!r} is {getattr(found, 'shape', None)}, not {(len(self), *shape)}")

    def read(self, name: str, rows: Sequence[int]) -> np.ndarray:
        """The rows of an array, in that order. ValueError names the row whose checksum is wrong."""
        source = self._open().get(name)
        if not isinstance(source, h5py.Dataset):
            raise self.damaged(f"a part of it is missing: there is no {name!r}")
        shape = source.shape[1:]
        values = np.empty((len(rows), *shape), source.dtype)
        # h5py's own indexing takes ten times as long for a small row.
        here, there, zeros = h5s.create_simple(shape or (1,)), source.id.get_space(), (0,) * len(shape)
        for place, row in enumerate(rows):
            there.select_hyperslab((int(row), *zeros), (1, *shape))
            try:
                source.id.read(here, there, values[place : place + 1])
            except OSError as error:
                raise self.damaged(f"the {name} of {self.ids[int(row)]!r} are damaged ({error})") from error
        return values

    def close(self) -> None:
        if self._file is not None and self._owner == os.getpid():
            self._file.close()
        self._file, self._owner = None, 0

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def damaged(self, why: str) -> ValueError:
        """The error to raise for a file that cannot be used."""
        return ValueError(f"{self.path} cannot be used: {why}; delete it and re-run rule {self.rule}")
