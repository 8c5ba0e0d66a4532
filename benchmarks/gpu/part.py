"""One part of the check: its items one after the other, what becomes of each, and its end when its time is up."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
GRACE = 2.0  # seconds after its end at which a part that is in the middle of an item is ended


class TimeUp(BaseException):
    """The time of a part is up. No `except Exception` takes it for the error of an item."""


@dataclass
class Part:
    """A part under way, which is to end at `end` of time.perf_counter. The entries of `rows` and `facts` go into the JSON."""

    name: str
    device: torch.device
    methods: list[str]
    end: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    done: int = 0
    wanted: int = 0
    cut: bool = False

    @property
    def small(self) -> bool:
        """On a CPU everything is."""
        return self.device.type == "cpu"

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.perf_counter()

    def each(self, items: Iterable[Item], work: Callable[[Item], dict[str, Any]], *, title: Callable[[Item], str] = str) -> None:
        """Add the row of each item. An error is the item's, the next goes on. None begins with less time than the one before took."""
        everything, before = list(items), 0.0
        self.wanted += len(everything)
        for item in everything:
            if self.left < before:
                self.cut = True
                return
            start = time.perf_counter()
            try:
                self.rows.append(work(item))
                self.say(", ".join(f"{key}: {value}" for key, value in self.rows[-1].items()))
            except Exception as error:
                self.fail(f"{title(item)}: {sentence(error)}")
            self.done += 1
            before = time.perf_counter() - start

    def fail(self, text: str) -> None:
        self.failures.append(text)
        self.say(f"FAILED {text}")

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def report(self, seconds: float) -> dict[str, Any]:
        status = "fail" if self.failures else "cut" if self.cut else "pass"
        ended = {"status": status, "cut": self.cut, "done": self.done, "wanted": self.wanted, "seconds": round(seconds, 1)}
        return {**ended, "failures": self.failures, "facts": self.facts, "rows": self.rows}


def run(part: Part, work: Callable[[Part], None]) -> dict[str, Any]:
    """Do a part within its time and report it: `status` pass, fail or cut, how many items are `done` of `wanted`, `failures`, `rows`."""
    start = time.perf_counter()
    print(f"{part.name}: {part.left:.0f} s at most", file=sys.stderr, flush=True)
    try:
        with _ended_at(part.end + GRACE):
            work(part)
    except TimeUp:
        part.cut = True
    except Exception as error:
        part.fail(sentence(error))
    return part.report(time.perf_counter() - start)


def sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@contextmanager
def _ended_at(end: float) -> Iterator[None]:
    def raise_(_: int, __: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, raise_)
    signal.setitimer(signal.ITIMER_REAL, max(end - time.perf_counter(), 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
