"""The content of files, whatever their times say: a purge that touches, `cp -r` and rsync without -t give old bytes new times.

Snakemake compares the checksums of files, but of a folder it knows the time only. So a folder is told apart by what is in it.
"""

import contextlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.core.files import read_json, replace_json
from pipeline.core.record import sha256

THREADS = 8
LONG_AGO = 10**9  # nanoseconds of the clock; Snakemake compares with the oldest of a job's outputs and its benchmark, touched in any order
STAMP = ".snakemake_timestamp"  # Snakemake's note of a folder's time


def below(folder: Path) -> list[Path]:
    """All files in `folder` and in its folders, but for Snakemake's own."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".snakemake"))


def hashes(files: Sequence[Path], *, threads: int = THREADS) -> list[str]:
    """SHA-256 of each file."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(sha256, files))


def pinned(checksums: Path) -> dict[str, str]:
    """SHA-256 by the path of each file, of lines as `sha256sum` writes them."""
    lines = checksums.read_text(encoding="utf-8").splitlines()
    return {path: total for total, _, path in (line.partition("  ") for line in lines)}


def settle(folder: Path, checksums: Path) -> list[str]:
    """The files of `folder` that are not what its `checksums` say. The times of both say it from now on, to whatever compares times.

    Only what was written after `checksums` is read: no program can set the time of a file's last change of state back. Where nothing
    differs, the folder is from long ago afterwards, else newer than its checksums. Either may be missing: then there is nothing to tell.
    """
    if not (folder.is_dir() and checksums.is_file()):
        return []
    told, known = checksums.stat().st_mtime_ns, pinned(checksums)
    there = {path.as_posix(): path for path in below(folder)}
    written = [path for path in there.values() if path.stat().st_ctime_ns >= told]
    stamp = folder / STAMP if (folder / STAMP).exists() else folder
    found = dict(zip((path.as_posix() for path in written), hashes(written), strict=True))
    other = sorted(there.keys() ^ known.keys() | {path for path, total in found.items() if known.get(path) != total})
    # Who may not set times has the files compared again, and at worst made again.
    with contextlib.suppress(OSError):
        if other:
            _set(stamp, max(time.time_ns(), told + 1_000_000))
        elif written or stamp.stat().st_mtime_ns > LONG_AGO:
            if written:
                os.utime(checksums)
            _set(stamp, LONG_AGO)
    return other


def _set(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))


class Known:
    """SHA-256 of files, kept in a file of JSON: what has not been written since last time is not read again."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        self.rows: dict[str, list[object]] = read_json(memory) if memory.is_file() else {}

    def of(self, files: Sequence[Path]) -> list[str]:
        """Of each file. Raises OSError for one that is not there."""
        states = {str(path): [(state := path.stat()).st_size, state.st_ctime_ns] for path in files}
        new = [path for path, state in states.items() if self.rows.get(path, [])[1:] != state]
        if new:
            totals = hashes([Path(path) for path in new])
            self.rows |= {path: [total, *states[path]] for path, total in zip(new, totals, strict=True)}
            replace_json(self.memory, self.rows)
        return [str(self.rows[str(path)][0]) for path in files]
