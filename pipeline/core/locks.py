"""Locks that end with their process: one at a time, and nobody has to type `snakemake --unlock` after a kill.

Snakemake writes its locks as plain files, which outlive a SIGKILL. Each Snakemake of this workflow also holds a lock of the operating
system for as long as it lives: who gets that one alone knows that nobody is at work in the folder. Where the file system has no locks,
a lease stands in for them. No wait lasts for ever.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.core.lease import BEAT, PATIENCE, Lease, holder_in, note_holder
from pipeline.core.stopped import Stopped

LIMIT = 24 * 3600.0  # seconds that the end of another process is waited for
LOOK = 1.0  # seconds between two looks
_held: set[BinaryIO] = set()
_told: set[Path] = set()


def _forget() -> None:
    """A lock ends with the process that took it, not with the last of its forks."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_forget)


class Lock:
    """The lock file `path`, held from `take` or `share` until `release`, or the end of this process however it ends.

    OSError names a file that cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: BinaryIO | None = None
        self._named = False  # whether the file says that we hold it
        self._lease: Lease | None = None

    def take(self) -> bool:
        """Hold it alone, unless somebody else holds it."""
        if self._lease is None and (got := self._flock(fcntl.LOCK_EX)) is not None:
            return got
        assert self._lease is not None
        return self._lease.take()

    def share(self) -> bool:
        """Hold it together with others who share it, also what was held alone. False while somebody holds it alone."""
        if self._lease is None and (got := self._flock(fcntl.LOCK_SH)) is not None:
            return got
        assert self._lease is not None
        self._lease.share()
        return True

    @property
    def unsure(self) -> bool:
        """Whether more looks will tell if it is held."""
        return self._lease is not None and self._lease.unsure

    def holder(self) -> str:
        """The words for who holds it."""
        return self._lease.holder() if self._lease else holder_in(self.path)

    def release(self) -> None:
        if self._lease is not None:
            self._lease.release()
        if self._file is not None:
            if self._named:
                self._file.truncate(0)
            self._close()

    def _flock(self, how: int) -> bool | None:
        """None where the file system has no locks: from then on there is a lease."""
        if self._file is None:
            self._file = self.path.open("ab")  # NFS asks for a file that can be written
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._close()
            return False
        except OSError as error:
            self._close()
            self._lease = Lease(self.path)
            _tell(self.path, error)
            return None
        if not os.fstat(self._file.fileno()).st_nlink:  # deleted since: another has a file of this name, or none
            self._close()
            return False
        _held.add(self._file)
        if how == fcntl.LOCK_EX:
            note_holder(self._file.fileno())
            self._named = True
        return True

    def _close(self) -> None:
        if self._file is not None:
            _held.discard(self._file)
            self._file.close()
            self._file = None


def _tell(path: Path, error: OSError) -> None:
    if path.parent not in _told:
        _told.add(path.parent)
        stand_in = f"files beside it, touched every {BEAT:g} s, stand in for them"
        print(f"{path}: the file system has no locks ({error.strerror}); {stand_in}", file=sys.stderr, flush=True)


def enter(folder: Path, *, wait: bool, limit: float = LIMIT) -> Lock:
    """Hold the returned lock as long as this Snakemake works with `folder`, its `.snakemake`.

    Stale locks in it are removed. `wait`: until no other Snakemake is at work there; else Snakemake itself refuses what both would write.
    """
    lock = Lock(folder / "petl-vtr.lock")
    if wait:
        _wait(lock, told=f"another Snakemake is at work in {folder.resolve().parent}", limit=limit)
        alone = True
    else:
        alone = lock.take()
        if lock.unsure:
            told = f"{lock.path} is held by {lock.holder()}; looking for up to {PATIENCE * LOOK:g} s whether it lives"
            print(told, file=sys.stderr, flush=True)  # what Snakemake prints of a plan may be read by another program
        while not alone and lock.unsure:
            time.sleep(LOOK)
            alone = lock.take()
    if alone:
        shutil.rmtree(folder / "locks", ignore_errors=True)
    end = time.monotonic() + limit
    while not lock.share() and time.monotonic() < end:  # another one removes stale locks right now
        time.sleep(LOOK / 10)
    return lock


@contextmanager
def only_one(lock: Path, *, told: str, limit: float = LIMIT) -> Iterator[None]:
    """Hold the file `lock`; while another process does, wait for its end and say `told`. A process that was killed holds nothing.

    Stopped after `limit` seconds.
    """
    held = Lock(lock)
    _wait(held, told=told, limit=limit)
    try:
        yield
    finally:
        held.release()


def first_free(locks: list[Lock], *, told: Callable[[str], str], ended: str, limit: float = LIMIT) -> int:
    """The number of the first lock that can be held, and is from then on. `told`: what to say of who holds them.

    Stopped, which says `ended`, after `limit` seconds.
    """
    end, said = time.monotonic() + limit, False
    while True:
        for number, lock in enumerate(locks):
            if lock.take():
                return number
        holders = ", ".join(f"{lock.path} is held by {lock.holder()}" for lock in locks)
        if time.monotonic() >= end:
            raise Stopped(f"{ended} for {limit:g} s: {holders}; wait for its end or end it, and start again")
        if not said:
            print(told(holders), flush=True)
            said = True
        time.sleep(min(LOOK, max(end - time.monotonic(), 0)))


def _wait(lock: Lock, *, told: str, limit: float) -> None:
    first_free([lock], told=lambda holders: f"{holders}\n{told}; waiting for its end", ended=told, limit=limit)
