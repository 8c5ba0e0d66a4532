"""The tensors of a TorchScript archive, such as OpenAI's ViT-B-32.pt, read as data.

`torch.jit.load` compiles the program of an archive, runs what it says about how its objects are set up, and knows operations that open
files. Weights need none of it: here the pickle of the archive makes inert records, and tensors are made of those that describe one.
"""

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

REBUILD = "torch._utils._rebuild_tensor_v2"
# The names that pickles have for the types of storages.
DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.BoolStorage": torch.bool,
}
MOST = 100_000  # parts of a module; one that is shared counts as often as it is reached


class _Record:
    """An object that a pickle wanted to make of the global `source`: its arguments, and its attributes."""

    source = ""
    args: tuple[Any, ...]

    def __new__(cls, *args: Any) -> "_Record":
        record = object.__new__(cls)
        record.args = args
        return record

    def __setstate__(self, state: Any) -> None:
        """Attributes; what else an archive hands to its own program is nothing that can be read without it."""
        if isinstance(state, dict):
            vars(self).update(state)


# The one in Python: a pickle may number an object four billion, for which the one in C takes memory up to that number.
class _Records(pickle._Unpickler):
    """Finds no global: each becomes a new class of records, which no other pickle sees."""

    def find_class(self, module: str, name: str) -> Any:
        return type("Record", (_Record,), {"source": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        return pid


def is_archive(archive: zipfile.ZipFile) -> bool:
    """Whether a zip is TorchScript: one of torch.save has no constants."""
    return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by their names in the module. Raises ValueError, KeyError or what the broken pickle leads to."""
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).split("/")[0]
        module = _Records(io.BytesIO(_bytes(archive, f"{root}/data.pkl"))).load()
        storages: dict[str, Tensor] = {}
        return {name: _tensor(record, archive, root, storages) for name, record in _tensors(module)}


def _tensors(module: Any) -> Iterator[tuple[str, _Record]]:
    """The records of tensors within that of a module, by their dotted names."""
    waiting, reached = [("", module)], 0
    while waiting:
        place, record = waiting.pop()
        reached += 1
        if reached > MOST:
            raise ValueError(f"its module has more than {MOST} parts; it is broken or made to harm")
        if record.source == REBUILD:
            yield place, record
        else:
            parts = vars(record).items()
            waiting += [(f"{place}.{name}".lstrip("."), part) for name, part in reversed(parts) if isinstance(part, _Record)]


def _tensor(record: _Record, archive: zipfile.ZipFile, root: str, storages: dict[str, Tensor]) -> Tensor:
    """The tensor that a record describes, a view of its storage."""
    (_, kind, key, _, count), offset, size, stride = record.args[:4]
    if key not in storages:
        data = bytearray(_bytes(archive, f"{root}/data/{key}"))
        storages[key] = torch.frombuffer(data, dtype=DTYPES[kind.source], count=count) if count else torch.empty(0)
    return storages[key].as_strided(size, stride, offset)


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry that is stored and not packed: it takes no more memory than the file does."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is packed, which torch never does")
    return archive.read(entry)
