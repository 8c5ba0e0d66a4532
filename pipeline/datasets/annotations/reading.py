"""Annotation files in the shapes that circulate: found by name anywhere below a folder, read strictly."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.core import textfile


def find(folder: Path, *names: str) -> Path | None:
    """The file below `folder` that has one of `names`, the first name first. ValueError if a name is there twice with other content."""
    for name in names:
        files = sorted(path for path in folder.rglob(name) if path.is_file())
        if files:
            if any(other.read_bytes() != files[0].read_bytes() for other in files[1:]):
                raise ValueError(f"{folder} holds different files {name}: {', '.join(map(str, files[:3]))}; keep the right one")
            return files[0]
    return None


def need(folder: Path, *names: str, hint: str = "") -> Path:
    """`find`, or ValueError with the names that were looked for."""
    path = find(folder, *names)
    if path is None:
        raise ValueError(f"{folder} holds no {' or '.join(names)}{hint and f'; {hint}'}")
    return path


def json_file(path: Path) -> Any:
    """JSON, plain or as the only .json inside a zip."""
    if zipfile.is_zipfile(path):
        return _json(_in_zip(path, ".json"), path)
    return _json(textfile.raw(path), path)


def table(path: Path, *, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, as (line, row). ValueError for a column that is not there, and a row of other length."""
    reader = csv.DictReader(io.StringIO(textfile.text(path), newline=""), delimiter=delimiter, strict=True)
    absent = [column for column in columns if column not in (reader.fieldnames or [])]
    if absent:
        raise ValueError(f"{path}: there is no column {absent[0]!r}; the header has {', '.join(reader.fieldnames or []) or 'nothing'}")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}: line {reader.line_num} does not have {len(reader.fieldnames or [])} cells")
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: {error}") from error


def records(path: Path, values: Any, *, keys: dict[str, type | tuple[type, ...]]) -> list[dict[str, Any]]:
    """A JSON list of objects that have `keys` of these types. ValueError names the first one that is otherwise."""
    if not isinstance(values, list):
        raise ValueError(f"{path}: expected a list, not {type(values).__name__}")
    for number, row in enumerate(values):
        for key, kind in keys.items():
            if not isinstance(row, dict) or not isinstance(row.get(key), kind):
                raise ValueError(f"{path}: entry {number} has no usable {key!r}: {str(row)[:100]}")
    return values


def _json(raw: bytes, path: Path) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; get the file again") from error


def _in_zip(path: Path, suffix: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [info for info in archive.infolist() if info.filename.endswith(suffix) and not info.filename.startswith("__MACOSX")]
            if len(inside) != 1:
                raise ValueError(f"{path} holds {len(inside)} files *{suffix}; one is expected")
            with archive.open(inside[0]) as file:
                raw = file.read(textfile.MOST + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} is a damaged zip: {error}; get the file again") from error
    if len(raw) > textfile.MOST:
        raise ValueError(f"{path}: {inside[0].filename} is larger than {textfile.MOST} bytes; that is no annotation file")
    return raw
