"""A training that is told to stop: Slurm warns with SIGUSR1 before a time limit, and ends jobs with SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.core.stopped import EXIT_CODE, Stopped

__all__ = ["EXIT_CODE", "SIGNALS", "Stopped", "Warned", "listening"]
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Warned:
    """False until a signal arrives."""

    def __init__(self) -> None:
        self.by: str | None = None

    def __bool__(self) -> bool:
        return self.by is not None

    def note(self, number: int, _: FrameType | None) -> None:
        self.by = signal.Signals(number).name


@contextmanager
def listening() -> Iterator[Warned]:
    """Note these signals instead of ending at once; the block looks between two steps. Only a main thread can be told."""
    warned = Warned()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, warned.note) for number in SIGNALS} if main else {}
    try:
        yield warned
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
