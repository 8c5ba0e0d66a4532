"""Write files whole or not at all."""

import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # what a disk says that takes no more


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary name beside `target`, renamed to it when the block ends well and removed when it does not.

    A disk that is full is an OSError that names `target`.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, target)
    except OSError as error:
        if error.errno in FULL and error.filename in (None, part, str(part)):
            raise unwritten(target, error) from error
        raise
    finally:
        part.unlink(missing_ok=True)


class Disk(io.FileIO):
    """The temporary file of `target` for libraries that crash, or say nothing of use, where the disk is full.

    It keeps the first error to itself, and tells it when it is asked to `settle`.
    """

    def __init__(self, part: Path, target: Path, *, mode: str = "w+") -> None:
        super().__init__(part, mode)
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

    def settle(self) -> None:
        """All is on the disk when this returns. Raises OSError."""
        try:
            if self.failure is not None:
                raise self.failure
            os.fsync(self.fileno())
        except OSError as error:
            raise unwritten(self.target, error) from error


def unwritten(target: Path, error: OSError) -> OSError:
    """The sentence for a disk that did not take `target`."""
    why = os.strerror(error.errno or errno.EIO)
    return OSError(error.errno, f"the file could not be written ({why}); free some disk and re-run", str(target))


def refuse_small_disk(folder: Path, needed: int, *, what: str) -> None:
    """OSError if the disk of `folder` has not so many bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        sentence = f"{what} needs {needed / 1e6:,.1f} MB, the disk has {free / 1e6:,.1f} MB free; make room and re-run"
        raise OSError(errno.ENOSPC, sentence, str(folder))


def write_json(target: Path, value: Any) -> None:
    """Sorted keys, so that equal values are equal bytes. NaN is refused: it is not JSON."""
    with whole(target) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def replace_json(target: Path, value: Any) -> None:
    """As `write_json`, where several processes may write the file at once: each under a name of its own first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.stem}.", delete=False) as file:
        json.dump(value, file, indent=1, sort_keys=True)
    os.replace(file.name, target)


def read_json(source: Path) -> Any:
    """ValueError names a file that is not there or not JSON."""
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as JSON: {error}") from error


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Put what `change` makes of a text in its place."""
    text = change(path.read_text(encoding="utf-8"))
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
