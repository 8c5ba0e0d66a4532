"""Text files of strangers: UTF-8, or UTF-16 that says so, of a sensible size."""

import codecs
from pathlib import Path

MOST = 500_000_000  # bytes of one file of annotations; the largest known one has 30 MB


def text(path: Path) -> str:
    """The content of a UTF-8 file, or of one that says it is UTF-16. ValueError names the line that is not, and a NUL."""
    data = raw(path)
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        content = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "ignore").count("\n") + 1
        raise ValueError(
            f"{path}: line {line} is not {encoding.removesuffix('-sig')} text; get the file again, or save it as UTF-8"
        ) from None
    if "\0" in content:
        raise ValueError(f"{path}: line {content[: content.index(chr(0))].count(chr(10)) + 1} holds a NUL character; get the file again")
    return content


def lines(path: Path) -> list[str]:
    """The lines of a list of names, without blank ones."""
    return filled(text(path))


def filled(content: str) -> list[str]:
    """Its lines without blank ones, and without blanks around them."""
    return [line.strip() for line in content.splitlines() if line.strip()]


def raw(path: Path) -> bytes:
    """All bytes of a file. ValueError where they are too many."""
    if path.stat().st_size > MOST:
        raise ValueError(f"{path} is larger than {MOST} bytes; that is no annotation file")
    return path.read_bytes()
