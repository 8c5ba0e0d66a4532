"""Pickles from strangers: read as data, never as a program."""

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

ATOMS = (str, int, float, bool, bytes, type(None))
SPARE = 1_000_000  # objects, whatever the size of the file
PLAIN = "only lists, tuples, dicts, texts and numbers are read"


class _Refusal(ValueError):
    """A sentence of ours, among the errors that a broken pickle can raise."""


# The one in Python: a pickle may number an object four billion, for which the one in C takes memory up to that number.
class _Plain(pickle._Unpickler):
    """Makes nothing but what the opcodes themselves make."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise _Refusal(f"wants to call {module}.{name}; {PLAIN}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _Refusal(f"refers to something outside of it ({str(pid)[:40]!r}); {PLAIN}")


def load(path: Path, *, most: int = 200_000_000) -> Any:
    """The value in `path`: dict, list, tuple, str, int, float, bool, bytes and None, within each other; nothing else is made.

    The byte strings of Python 2 are read as UTF-8. `most`: bytes. Raises ValueError for a file that is larger, not whole, not one
    pickle, wants anything else, or repeats itself without end.
    """
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path} has {size} bytes; a pickle of more than {most} is not read")
    stream = io.BytesIO(path.read_bytes())
    try:
        value = _Plain(stream, encoding="utf-8").load()
        if rest := len(stream.read()):
            raise _Refusal(f"goes on for {rest} bytes after its end; only a file of one pickle is read")
        _check(value, most=SPARE + 10 * size)
    except _Refusal as refusal:
        raise ValueError(f"{path} {refusal}") from None
    # A broken pickle can raise almost anything.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a pickle ({error or type(error).__name__}); delete it and fetch it again") from error
    return value


def _check(value: Any, *, most: int) -> None:
    """Objects count as often as they are reached, because whoever reads them will walk the same way."""
    waiting, reached = [value], 1
    while waiting:
        entry = waiting.pop()
        if type(entry) in (list, tuple, dict):
            reached += len(entry)
            parts = [*entry, *entry.values()] if type(entry) is dict else entry
            waiting += [part for part in parts if type(part) not in ATOMS]
        elif type(entry) not in ATOMS:
            raise _Refusal(f"holds a {type(entry).__name__}; {PLAIN}")
        if reached > most:
            raise _Refusal(f"repeats itself to more than {most} objects; it is broken or made to harm")
