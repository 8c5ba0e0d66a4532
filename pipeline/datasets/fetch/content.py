"""Kind of a file by its content, whatever its name says: how files of each kind begin, and digests."""

import hashlib
import html
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.fetch.archive import is_tar

HEAD = 1 << 16  # bytes that are looked at
# How a file of each kind begins; a tar is opened instead.
SIGNS = {
    "": rb"",
    "zip": rb"PK",
    "tar": rb"",
    "gz": rb"\x1f\x8b",
    "json": rb"(\xef\xbb\xbf)?\s*[{\[]",
    "csv": rb"[^\0]*\Z",
    "text": rb"[^\0]*\Z",
    "pickle": rb"\x80[\0-\5]|[(\])}cSUVFILNKJMGX]",
    "video": rb"....(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF....AVI |FLV|\0\0\1[\xb3\xba]|0&\xb2u|OggS|G",
}
PAGE = re.compile(rb"(?is)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(!doctype\s+html|html)\b(.*?<title[^>]*>(?P<title>.*?)</title)?")
DIGITS = {"sha256": 64, "sha1": 40, "md5": 32, "gitblob": 40}


@dataclass(frozen=True)
class Fetched:
    """A fetched file: its size in bytes and its SHA-256."""

    bytes: int
    sha256: str


def check_digest(path: Path, digest: str) -> bool:
    """Whether `path` is what `digest`, as for fetch, stands for."""
    name, value = parsed(digest)
    return _hash(path, name) == value


def check_kind(path: Path, kind: str, *, saying: str) -> None:
    """ValueError, a sentence that begins with `saying`, if `path` is empty or does not begin as a file of `kind` does."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise ValueError(f"{saying} an empty file")
    if kind and (page := PAGE.match(head[:8192])):
        title = " ".join(html.unescape((page["title"] or b"without a title").decode(errors="replace")).split())[:80]
        raise ValueError(f"{saying} a web page ({title!r}) instead of a {kind} file")
    if not re.match(SIGNS[kind], head, re.DOTALL) or (kind == "tar" and not is_tar(path)):
        raise ValueError(f"{saying} no {kind} file: it begins with {head[:16]!r}")


def parsed(digest: str) -> tuple[str, str]:
    """The name of the hash and its digits; no digits for no digest."""
    name, _, value = (digest or "sha256:").partition(":")
    if (digest and len(value) != DIGITS.get(name)) or not re.fullmatch("[0-9a-fA-F]*", value):
        raise ValueError(f"the digest {digest!r} is not 'sha256:', 'sha1:', 'md5:' or 'gitblob:' and its hexadecimal digits")
    return name, value.lower()


def _hash(path: Path, name: str) -> str:
    begun = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, (lambda: begun) if name == "gitblob" else name).hexdigest()


def verified(path: Path, saying: str, *, kind: str, size: int | None, digest: str) -> Fetched:
    """Size and SHA-256 of `path`. ValueError, a sentence that begins with `saying`, if it is something else than was promised."""
    check_kind(path, kind, saying=saying)
    length = path.stat().st_size
    if size is not None and length != size:
        raise ValueError(f"{saying} {length} bytes{' or more' if length > size else ''} instead of {size}")
    name, value = parsed(digest)
    sha256 = _hash(path, "sha256")
    found = sha256 if name == "sha256" else _hash(path, name)
    if value and found != value:
        raise ValueError(f"{saying} a file of the {name} {found} instead of {value}")
    return Fetched(length, sha256)
