"""Locks that end with their process: one at a time, and nobody has to type `snakemake --unlock` after a kill.

Snakemake writes its locks as plain files, which outlive a SIGKILL. Each Snakemake of this workflow also holds a lock of the operating
system for as long as it lives: who gets that one alone knows that nobody is at work in the folder.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import filelock


def enter(folder: Path, *, wait: bool) -> TextIO:
    """Hold the returned file as long as this Snakemake works with `folder`, its `.snakemake`.

    Stale locks in it are removed. `wait`: until no other Snakemake is at work there; else Snakemake itself refuses what both would write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = (folder / "petl-vtr.lock").open("a", encoding="utf-8")
    told = False
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                break
            if not told:
                print(f"another Snakemake is at work in {folder.resolve().parent}; waiting for its end", flush=True)
                told = True
            time.sleep(1)
        except OSError:
            # A file system without such locks tells nothing.
            return held
        else:
            shutil.rmtree(folder / "locks", ignore_errors=True)
            break
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


@contextmanager
def only_one(lock: Path, *, told: str) -> Iterator[None]:
    """Hold the file `lock`; while another process does, wait for its end and say `told`. A process that was killed holds nothing."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(lock)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{told}; waiting for its end", flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()
