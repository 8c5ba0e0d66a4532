"""Write files whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary name beside `target`, renamed to it when the block ends well and removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_json(target: Path, value: Any) -> None:
    """Sorted keys, so that equal values are equal bytes. NaN is refused: it is not JSON."""
    with whole(target) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(source: Path) -> Any:
    """ValueError names a file that is not there or not JSON."""
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as JSON: {error}") from error
