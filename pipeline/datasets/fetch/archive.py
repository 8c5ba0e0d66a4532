"""A zip or tar from strangers -> the wanted files below a folder, all of them or none, and nothing anywhere else."""

import errno
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.core.files import refuse_small_disk

CHUNK = 1 << 20
SHOWN = 200  # characters of an error, which may quote the archive
SLACK = 10_000_000  # bytes, below which a ratio says nothing
# Errors of the libraries for bytes that are not what they should be. RuntimeError is a compression or a nesting they cannot do.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, LZMAError, RuntimeError, UnicodeError, struct.error)


@dataclass(frozen=True)
class Limits:
    """Limits on what an archive may unpack to."""

    bytes: int = 50_000_000_000
    ratio: float = 100.0  # bytes unpacked for each byte of the archive
    members: int = 1_000_000


@dataclass(frozen=True)
class _Member:
    name: str
    size: int  # bytes, as declared
    kind: str  # "file", "folder", or what else it is
    open: Callable[[], IO[bytes] | None]


DEFAULT = Limits()


def unpack(archive: Path, target: Path, *, wanted: Callable[[str], str | None], limits: Limits = DEFAULT) -> list[str]:
    """Write files of `archive`, recognised as zip or tar by its content, below the folder `target`; their names there, sorted.

    `wanted`: the name of a member -> its file below `target`, None to leave it out. Raises ValueError for an archive that is
    damaged, unsafe, over the `limits`, or has nothing wanted, and for a file that is there already; OSError for the disk. Then
    nothing is written.
    """
    target = target.resolve()
    part = target.with_name(f".{target.name}.part")
    thin = max(SLACK, int(limits.ratio * archive.stat().st_size))
    most = min(limits.bytes, thin)
    with _members(archive, limits=limits, most=thin) as members:
        chosen = _chosen(archive, members, wanted=wanted)
        _refuse_large(archive, sum(member.size for member in chosen.values()), most=most)
        for name in chosen:
            _refuse_occupied(target, name)
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _write(archive, chosen, part, most=most)
            _place(part, target, sorted(chosen))
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return sorted(chosen)


def is_tar(path: Path) -> bool:
    """Whether it begins as a tar does, compressed or not."""
    with suppress(EOFError, zlib.error, LZMAError):
        return tarfile.is_tarfile(path)
    return False


@contextmanager
def _sound(archive: Path, member: str = "") -> Iterator[None]:
    """Damage is a ValueError that names the archive and the member."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        # gzip and bz2 say OSError without a number, a disk gives one; a place before the beginning of the file is the archive's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        where = f" at {member!r}" if member else ""
        why = str(error)[:SHOWN] or type(error).__name__
        raise ValueError(f"{archive} is damaged{where} ({why}); delete it and fetch it again") from error


@contextmanager
def _members(archive: Path, *, limits: Limits, most: int) -> Iterator[list[_Member]]:
    with archive.open("rb") as file:
        start = file.read(4)
    with ExitStack() as stack:
        with _sound(archive):
            # By its first bytes: the last ones of a tar may be those of a zip inside it.
            if start in (b"PK\3\4", b"PK\5\6"):
                found = _of_zip(stack.enter_context(zipfile.ZipFile(archive)))
            elif is_tar(archive):
                found = _of_tar(archive, stack.enter_context(tarfile.open(archive)), most=most)
            else:
                raise ValueError(f"{archive} is neither a zip nor a tar file")
            members = []
            for member in found:
                members.append(member)
                if len(members) > limits.members:
                    raise ValueError(f"{archive} is not unpacked: it has more than {limits.members} members")
        yield members


def _of_zip(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        # The name as it is written; `filename` ends at the first NUL.
        name, form = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
        kind = "folder" if name.endswith("/") or form == stat.S_IFDIR else "file"
        if form not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a symbolic link" if form == stat.S_IFLNK else "a device or a pipe"
        elif info.flag_bits & 0x41:
            kind = "encrypted"
        yield _Member(name, info.file_size, kind, partial(file.open, info))


def _of_tar(archive: Path, tar: tarfile.TarFile, *, most: int) -> Iterator[_Member]:
    """The members of a tar that goes on to its end, which tarfile itself does not insist on."""
    for info in tar:
        # To pass a member is to decompress it.
        _refuse_large(archive, tar.offset, most=most)
        kind = "file" if info.isfile() else "folder" if info.isdir() else "a device or a pipe"
        if info.issym() or info.islnk():
            kind = "a symbolic link" if info.issym() else "a hard link"
        yield _Member(info.name, info.size, kind, partial(tar.extractfile, info))
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("a part of it is missing")
    # Checksums come last.
    while stream.read(CHUNK):
        _refuse_large(archive, stream.tell(), most=most)


def _chosen(archive: Path, members: list[_Member], *, wanted: Callable[[str], str | None]) -> dict[str, _Member]:
    """The members to write by their files."""
    chosen: dict[str, _Member] = {}
    taken: dict[PurePosixPath, str] = {}
    for member in members:
        _refuse_unsafe(archive, member.name)
    for member in members:
        name = None if member.kind == "folder" else wanted(member.name)
        if name is None:
            continue
        _refuse_unsafe(archive, name)
        if member.kind != "file":
            raise ValueError(f"{archive} is not unpacked: its member {member.name!r} is {member.kind}")
        path = PurePosixPath(name)
        if not path.parts:
            raise ValueError(f"{archive} is not unpacked: its member {member.name!r} would be the folder itself")
        folded = PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold())
        if folded in taken:
            raise ValueError(f"{archive} is not unpacked: its members {taken[folded]!r} and {member.name!r} would be one file, {name!r}")
        taken[folded], chosen[str(path)] = member.name, member
    for folded, name in taken.items():
        for folder in set(folded.parents) & taken.keys():
            raise ValueError(f"{archive} is not unpacked: its member {taken[folder]!r} would be a file and the folder of {name!r}")
    if not chosen:
        raise ValueError(f"{archive} holds nothing that is wanted among its {len(members)} members; is it the right file?")
    return chosen


def _refuse_unsafe(archive: Path, name: str) -> None:
    if name.startswith("/") or ".." in name.split("/") or re.search(r"^[A-Za-z]:|[\0\\]", name):
        raise ValueError(f"{archive} is not unpacked: its member {name!r} would not stay in the folder")


def _refuse_large(archive: Path, number: int, *, most: int) -> None:
    if number > most:
        raise ValueError(f"{archive} is not unpacked: {archive.stat().st_size} bytes would become more than the limit of {most}")


def _refuse_occupied(target: Path, name: str) -> None:
    """A link in the way may lead anywhere, and what is there is not ours to replace."""
    path = target / name
    for folder in (target / parent for parent in PurePosixPath(name).parents):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise ValueError(f"{path} cannot be written: {folder} is not a folder; delete it")
    if os.path.lexists(path):
        raise ValueError(f"{path} is there already; delete it to unpack it again")


def _write(archive: Path, chosen: dict[str, _Member], part: Path, *, most: int) -> None:
    refuse_small_disk(part.parent, sum(member.size for member in chosen.values()), what=str(archive))
    total = 0
    for name, member in chosen.items():
        path, begun = part / name, total
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in _chunks(archive, member):
                # Counted here, too: a declared size is only a promise.
                total += len(chunk)
                _refuse_large(archive, total, most=most)
                file.write(chunk)
        if total - begun != member.size:
            raise ValueError(f"{archive} is damaged at {member.name!r} (not the size it declares); delete it and fetch it again")


def _chunks(archive: Path, member: _Member) -> Iterator[bytes]:
    with _sound(archive, member.name):
        stream = member.open()
        assert stream is not None
        with stream:
            while chunk := stream.read(CHUNK):
                yield chunk


def _place(part: Path, target: Path, names: list[str]) -> None:
    """Move what is in `part` to `target`; back out if one cannot be moved."""
    if not target.exists():
        os.replace(part, target)
        return
    made: list[Path] = []
    try:
        for name in names:
            path = target / name
            for folder in reversed(path.parents):
                if not folder.exists():
                    folder.mkdir()
                    made.append(folder)
            os.replace(part / name, path)
            made.append(path)
    except BaseException:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        raise
