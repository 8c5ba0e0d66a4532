"""Write a file of rows.

It is laid out whole before its first row is computed: every chunk has its place, its size and its checksum. From then on a writer
only overwrites chunks, so a kill leaves a sound file, and a small one beside it says how many rows are done. A row is a chunk: a
random batch reads its own rows and nothing else. Nothing is compressed (docs/caches.md has the measurement).
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from pipeline.core.files import Disk, read_json, refuse_small_disk, write_json
from pipeline.core.hdf5 import Refused, new, opened, put_attributes, texts
from pipeline.core.progress import track
from pipeline.inputs.rows import FORMAT

SHARD = 64 * 2**20  # bytes between two marks of progress
SMALL = 256  # rows a chunk of arrays that are read whole


@dataclass(frozen=True)
class Column:
    """One array with a row for each id. `small`: it is read whole, so many rows share a chunk."""

    shape: tuple[int, ...]
    dtype: Any
    small: bool = False

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)


class Writer:
    """A file in the making: `done` rows are there. `add` what follows, then `finish` gives it its name.

    `made_from` is everything else that the rows depend on: only a part with the same is continued.
    """

    def __init__(
        self, target: Path, *, ids: Sequence[str], columns: Mapping[str, Column], attrs: Mapping[str, Any], made_from: Sequence[str]
    ) -> None:
        assert len(ids), "a file without a row is refused before"
        self.target, self.total = target, len(ids)
        self.part, self.mark = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "done"))
        self._shard = max(SHARD // sum(column.row_bytes for column in columns.values()), 1)
        plan = {"ids": list(ids), "attrs": dict(attrs), "columns": {k: repr(c) for k, c in columns.items()}, "made_from": list(made_from)}
        self._plan = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        self.done = self._progress(["id", *(name for name, column in columns.items() if column.small)])
        if not self.done:
            self.discard()
            try:
                _lay_out(self.part, target, ids=ids, columns=columns, attrs=attrs)
                self._note(0)
            except Exception:
                self.discard()
                raise
        self._disk = Disk(self.part, target, mode="r+")
        self._file = h5py.File(self._disk, "r+")
        self._noted = self.done

    def _progress(self, small: Sequence[str]) -> int:
        """The rows that an earlier writer of the same plan left; none if a chunk that later rows share was torn as it stopped."""
        if not (self.part.is_file() and self.mark.is_file()):
            return 0
        try:
            noted = read_json(self.mark)
            if noted["plan"] != self._plan:
                return 0
            with opened(self.part) as file:
                for name in small:
                    file[name][:]
            return int(noted["rows"])
        except Refused:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError):
            return 0

    def _note(self, rows: int) -> None:
        write_json(self.mark, {"plan": self._plan, "rows": rows})

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """The next rows of every column."""
        number = len(next(iter(rows.values())))
        for name, values in rows.items():
            self._file[name][self.done : self.done + number] = values
        self.done += number
        if self.done - self._noted >= self._shard:
            self._settle()
            self._note(self.done)
            self._noted = self.done

    def _settle(self) -> None:
        """Flush to the disk: rows that are noted as done must survive a power cut."""
        self._file.flush()
        self._disk.settle()

    def finish(self) -> None:
        assert self.done == self.total, f"{self.done} of {self.total} rows"
        self._file.close()  # HDF5 writes its first bytes once more
        self._disk.settle()
        self._disk.close()
        os.replace(self.part, self.target)
        self.mark.unlink()

    def _close(self) -> None:
        self._file.close()
        self._disk.close()

    def discard(self) -> None:
        for path in (self.part, self.mark):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """An error takes the part with it, because what is to be mended may be among its rows; an interrupt leaves it to go on from."""
        if kind is not None:
            self._close()
            if issubclass(kind, Exception):
                self.discard()


def write(writer: Writer, batches: Iterable[Mapping[str, np.ndarray]], *, label: str) -> None:
    """All rows from `writer.done` on, in order, then the file's final name. Raises OSError for a disk that is full."""
    if writer.done:
        print(f"{label}: {writer.done} of {writer.total} are there from an earlier start", flush=True)
    with writer:
        for _ in track(_added(writer, batches), total=writer.total - writer.done, label=label):
            pass
        writer.finish()


def _added(writer: Writer, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[int]:
    for batch in batches:
        before = writer.done
        writer.add(batch)
        yield from range(before, writer.done)


def _lay_out(part: Path, target: Path, *, ids: Sequence[str], columns: Mapping[str, Column], attrs: Mapping[str, Any]) -> None:
    """Write the file with zeros for rows. Equal arguments give equal bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_small_disk(target.parent, len(ids) * sum(column.row_bytes for column in columns.values()), what=target.name)
    with Disk(part, target) as disk:
        with new(disk) as file:
            put_attributes(file, {"format": FORMAT} | dict(attrs))
            names = texts(ids)
            _create(file, "id", Column((), names.dtype, small=True), rows=len(ids))
            file["id"][:] = names
            for name, column in columns.items():
                _create(file, name, column, rows=len(ids))
        disk.settle()


def _create(file: h5py.File, name: str, column: Column, *, rows: int) -> None:
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_chunk((min(SMALL, rows) if column.small else 1, *column.shape))
    layout.set_fletcher32()
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_obj_track_times(False)
    kind, space = h5t.py_create(np.dtype(column.dtype), logical=True), h5s.create_simple((rows, *column.shape))
    h5d.create(file.id, name.encode(), kind, space, layout)
