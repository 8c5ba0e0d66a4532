"""The folders that a run writes: locks and links in them, links into DVC's cache, and the user's own folders."""

import configparser
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.formatting import size
from pipeline.rules.doctor.line import FINE, STOP, WARNING, Case, Line, near

WRITTEN = (".", "data", "work", "runs")
LINKED = ("data", "work", "runs", "indexes")
TEMPORARY = 100_000_000  # bytes that the folder of temporary files should have free
FICLONE = 0x40049409  # the call of Linux that shares blocks between two files


def locks(case: Case) -> Iterator[Line]:
    """A lock on a file of each file system that is written; the attempt also tells whether it can be written at all."""
    held = dict[int, str]()
    for name in WRITTEN:
        if Path(name).is_dir() and (device := Path(name).stat().st_dev) not in held:
            try:
                trouble = _lock(Path(name))
            except OSError as error:
                remedy = "change its owner or rights, or make room"
                yield Line("locks", STOP, f"{Path(name).resolve()} cannot be written ({error.strerror}); {remedy}")
                continue
            held[device] = name
            if trouble:
                sentence = f"{Path(name).resolve()} is on a file system without file locks ({trouble}); runs go on by lease files"
                yield Line("locks", WARNING, f"{sentence}: start one Snakemake at a time in it, or mount it with locks (Lustre: -o flock)")
                held[device] = ""
    if works := [name for name in held.values() if name]:
        yield Line("locks", FINE, f"file locks work in {', '.join(works)}" + (" (one file system)" if len(held) == 1 else ""))


def _lock(folder: Path) -> str:
    """Why a lock in the folder does not keep others out, "" if it does. OSError if nothing can be written there."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor.") as file, Path(file.name).open("r+b") as other:
        file.write(b"x")
        file.flush()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
    return "it gives a lock twice"


def links(case: Case) -> Iterator[Line]:
    """Folders of a run that are links, and where they lead."""
    found = []
    for name in LINKED:
        path = Path(name)
        if path.is_symlink() and not path.exists():
            target = path.resolve()
            yield Line("links", STOP, f"{name} is a link to {target}, which is not there; mkdir -p {target}, or remove the link")
        elif path.exists() and not path.is_dir():
            yield Line("links", STOP, f"{name} is a file, and a run makes a folder of that name; move it away")
        elif path.is_symlink():
            found.append(f"{name} -> {path.resolve()}")
    yield Line("links", FINE, ", ".join(found) or f"{', '.join(LINKED)} are no links")


def cache(case: Case) -> Iterator[Line]:
    """Whether DVC can link files of its cache, or copies them, which takes twice the disk."""
    if not Path(".dvc").is_dir():
        return
    folder, types = _dvc()
    copied = [name for name in ("data", "runs") if not any(_shared(kind, near(folder), near(Path(name))) for kind in types)]
    if not copied:
        yield Line("cache", FINE, f"DVC links files from {folder} ({' or '.join(types)})")
        return
    other = next((kind for kind in ("reflink", "hardlink") if kind not in types and _shared(kind, near(folder), near(Path(copied[0])))), "")
    remedy = f"dvc config --local cache.type {other},copy" if other else "dvc cache dir --local <a folder on their file system>"
    yield Line("cache", WARNING, f"DVC copies from {folder} into {' and '.join(copied)}, which takes twice the disk; {remedy}")


def _dvc() -> tuple[Path, list[str]]:
    """The folder of DVC's cache, and the kinds of links that it tries; a relative one counts from the file that names it."""
    config = configparser.ConfigParser(interpolation=None)
    # DVC indents its keys, which this parser would take for lines that go on.
    for name in ("config", "config.local"):
        path = Path(".dvc", name)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        config.read_string("\n".join(line.strip() for line in lines))
    folder = Path(".dvc", config.get("cache", "dir", fallback="cache").strip('"'))
    kinds = [kind.strip() for kind in config.get("cache", "type", fallback="reflink,copy").strip('"').split(",")]
    return Path(os.path.normpath(folder)), [kind for kind in kinds if kind != "copy"]


def _shared(kind: str, source: Path, target: Path) -> bool:
    """Whether a file in `source` can be linked into `target`, tried."""
    if kind == "symlink":
        return True
    temporary = tempfile.TemporaryDirectory(dir=target, prefix=".doctor.")
    with tempfile.NamedTemporaryFile(dir=source, prefix=".doctor.") as file, temporary as to:
        file.write(b"x")
        file.flush()
        try:
            if kind == "hardlink":
                os.link(file.name, f"{to}/x")
            else:
                with Path(to, "x").open("wb") as other:
                    fcntl.ioctl(other, FICLONE, file.fileno())
        except OSError:
            return False
    return True


def home(case: Case) -> Iterator[Line]:
    """Where weights that are fetched by name are kept, and where temporary files go. The workflow itself needs no home."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if _writes(near(folder)):
        yield Line("home", FINE, f"caches go to {folder}")
    elif not case.quick:
        remedy = "export XDG_CACHE_HOME=<a folder of yours>"
        yield Line("home", WARNING, f"{folder} cannot be written, where pip and weights fetched by name are kept; {remedy}")
    wish = os.environ.get("TMPDIR", "")
    if wish and not (Path(wish).is_dir() and _writes(Path(wish))):
        yield Line("home", WARNING, f"TMPDIR is {wish}, which cannot be written; mkdir -p {wish}, or unset TMPDIR")
        return
    place = wish or tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if free < TEMPORARY:
        remedy = "make room, or export TMPDIR=<another folder>"
        yield Line("home", WARNING, f"{place} has {size(free)} free for temporary files; {remedy}")
    else:
        yield Line("home", FINE, f"temporary files go to {place}, {size(free)} free")


def _writes(folder: Path) -> bool:
    """Tried: rights say nothing of a file system that is read-only, or no disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
