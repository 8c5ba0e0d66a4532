"""All checks at once, within a time: whatever happens in one of them is a line, and never an error."""

import threading
import time
from collections.abc import Callable, Iterator

from pipeline.rules.doctor import backbone, disk, folders, machine, programs
from pipeline.rules.doctor.line import WARNING, Case, Line

Check = Callable[[Case], Iterator[Line]]
# In the order in which they are told.
CHECKS: dict[str, Check] = {
    "locks": folders.locks,
    "links": folders.links,
    "cache": folders.cache,
    "home": folders.home,
    "disk": disk.disk,
    "weights": backbone.weights,
    "git": programs.git,
    "ffmpeg": programs.ffmpeg,
    "gpu": machine.graphics,
    "shared memory": machine.shared,
    "memory": machine.memory,
    "slurm": programs.cluster,
}


def examine(case: Case, *, seconds: float, checks: dict[str, Check] = CHECKS) -> list[Line]:
    """The lines of all checks. They run side by side; one that has no end after so many seconds is told as a warning."""
    found: dict[str, list[Line]] = {}
    # Daemons, as a file system that does not answer must not keep the process.
    threads = [threading.Thread(target=_run, args=(name, check, case, found), daemon=True) for name, check in checks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no end of this check in {seconds:g} s; a file system or a program does not answer"
    return [line for name in checks for line in found.get(name, [Line(name, WARNING, late)])]


def _run(name: str, check: Check, case: Case, found: dict[str, list[Line]]) -> None:
    lines: list[Line] = []
    try:
        lines += check(case)
    except Exception as error:  # whatever it is, a run may be right without this check
        why = f"{type(error).__name__}: {error}"
        lines.append(Line(name, WARNING, f"this check failed itself ({why}), so it says nothing; report it"))
    found[name] = lines
