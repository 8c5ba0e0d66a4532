"""Leases: what stands in for locks where the file system has none.

The holder of `lock` is named in a file `lock.<n>` beside it, and touches that file every BEAT seconds. Who finds its process dead, or no
sign of life in PATIENCE looks of its own, makes `lock.<n+1>`, which only one can: nothing that lives is ever moved, and no two clocks are
compared. filelock's lease is not used: it takes nothing over where two names cannot be swapped, as on NFS and Lustre.
"""

import atexit
import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

BEAT = 2.0  # seconds
PATIENCE = 20  # looks in a row, a second apart, without a change
FREE = b"{}\n"


class Lease:
    """The lease on `lock`. `unsure`: the last look cannot tell yet whether a holder lives. `path`: the file that says we hold it."""

    def __init__(self, lock: Path) -> None:
        self.lock = lock
        self.path: Path | None = None
        self.unsure = False
        self._own, self._alone = b"", False
        self._seen: dict[Path, tuple[object, int, bool]] = {}
        self._ended = threading.Event()

    def take(self) -> bool:
        """Hold it, unless somebody else does. One look; what tells the dead from the living is that looks are a second apart."""
        others = self._files()
        self.unsure = False
        living = [path for path in others if self._lives(path)]  # each is looked at every time
        if living or not self._enter(others, alone=True):
            return False
        for path in others:
            if path != self.lock:  # which stays: it is the lock of file systems that have them
                path.unlink(missing_ok=True)
        return True

    def share(self) -> None:
        """Be known as one of those at work, whoever else is: `take` holds for none as long as one of them lives."""
        self._alone = False
        while self.path is None:
            self._enter(self._files(), alone=False)

    def release(self) -> None:
        """The file stays: its number tells those who looked before that their look is of no use any more."""
        self._ended.set()
        atexit.unregister(self.release)
        if self.path is not None:
            with suppress(OSError):
                if self.path.read_bytes() == self._own:
                    self.path.write_bytes(FREE)
            self.path = None

    def holder(self) -> str:
        """The words for who holds it."""
        return "; ".join(f"{holder_in(path)} ({path})" for path in self._files() if not _free(path, self.lock)) or "nobody"

    def _files(self) -> list[Path]:
        """The lock itself, then the leases in the order of their numbers."""
        numbers = (path.name.removeprefix(f"{self.lock.name}.") for path in self.lock.parent.glob(f"{self.lock.name}.*"))
        return [self.lock, *(self._numbered(number) for number in sorted(int(number) for number in numbers if number.isdigit()))]

    def _numbered(self, number: int) -> Path:
        return self.lock.with_name(f"{self.lock.name}.{number}")

    def _enter(self, others: list[Path], *, alone: bool) -> bool:
        number = int(others[-1].name.rpartition(".")[2]) if others[-1] != self.lock else 0
        path, own = self._numbered(number + 1), json.dumps(_self()).encode()
        try:
            with path.open("xb") as file:
                file.write(own)
        except FileExistsError:
            return False
        if alone and self._files()[-1] != path:  # we looked before somebody else took it
            path.unlink(missing_ok=True)
            return False
        self.path, self._own, self._alone = path, own, alone
        atexit.register(self.release)
        threading.Thread(target=self._beat, name=f"lease {path}", daemon=True).start()
        return True

    def _lives(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:  # on NFS only an open asks the server
                content, touched = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return False
        if content == FREE or (path == self.lock and not content):
            return False
        named = _named(content)
        if named.get("where") == _where() is not None:
            return _started(named.get("pid")) == named.get("started")
        last, looks, moved = self._seen.get(path, (None, 0, False))
        changed = last not in (None, (content, touched))
        looks, moved = (0 if changed or last is None else looks + 1), moved or changed
        self._seen[path] = ((content, touched), looks, moved)
        self.unsure |= not moved and looks < PATIENCE
        return looks < PATIENCE

    def _beat(self) -> None:
        path = self.path
        while not self._ended.wait(BEAT) and path is not None:
            with suppress(OSError):  # a server that does not answer may do so at the next beat
                try:
                    lost = path.read_bytes() != self._own or (self._alone and self._files()[-1] != path)
                    os.utime(path)
                except FileNotFoundError:
                    lost = True
                if lost:
                    self._lost()
                    break

    def _lost(self) -> None:
        """Two would write the same files: the one that was taken for dead ends."""
        if self._ended.is_set():
            return
        print(f"{self.path} was taken over or deleted, as this process gave no sign of life", file=sys.stderr, flush=True)
        if self._alone:
            os.kill(os.getpid(), signal.SIGTERM)


def holder_in(path: Path) -> str:
    """The words for the process that a lock or lease names."""
    try:
        named = _named(path.read_bytes())
    except OSError:
        named = {}
    return f"process {named['pid']} of {named['host']}" if {"pid", "host"} <= named.keys() else "a process that left no name"


def note_holder(number: int) -> None:
    """Write into an open lock file who holds it; what cannot be written is done without."""
    with suppress(OSError):
        os.ftruncate(number, 0)
        os.pwrite(number, json.dumps(_self()).encode(), 0)


def _free(path: Path, lock: Path) -> bool:
    with suppress(OSError):
        content = path.read_bytes()
        return content == FREE or (path == lock and not content)
    return True


def _named(content: bytes) -> dict[str, Any]:
    """The holder in a file; nothing for a file of another program, or one that is being written."""
    with suppress(ValueError):
        named = json.loads(content)
        if isinstance(named, dict):
            return named
    return {}


def _self() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "where": _where()}


def _where() -> str | None:
    """The space in which a process number counts: the start of a machine, and a container's processes. Names of hosts are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None  # a system without /proc: looks have to tell


def _started(number: object) -> str | None:
    """When a process began, in ticks since the machine did; None if it is gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
