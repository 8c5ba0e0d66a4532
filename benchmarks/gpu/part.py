"""One part of the check: what it is told, what it finds, and how it ends when its time is used up."""

import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from pipeline import methods
from pipeline.core.formatting import significant
from pipeline.cost.measure import wait

GRACE = 2.0  # seconds beyond its share after which a part that is in the middle of something is ended


class TimeUp(BaseException):
    """The share of a part is used up. No `except Exception` of an item takes it for the item's."""


@dataclass
class Part:
    """A part under way. `found` goes into the JSON as it is; a part with `failures` has failed. `rates`: of machine, TFLOP a second."""

    name: str
    device: torch.device
    small: bool
    names: list[str]
    rates: dict[str, float]
    end: float
    found: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    cut: str = ""

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.perf_counter()

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def fail(self, text: str) -> None:
        self.failures.append(text)
        self.say(f"FAIL {text}")

    def items(self, wanted: Iterable[Any], *, least: float = 0.0) -> Iterator[Any]:
        """Each of `wanted` while `least` seconds are left for it; what is left out is told."""
        everything = list(wanted)
        for number, item in enumerate(everything):
            if self.left < least:
                self.cut = f"its time was used up after {number} of {len(everything)}"
                return
            yield item

    @contextmanager
    def guarded(self, label: str) -> Iterator[None]:
        """An item whose error fails the part and ends nothing else."""
        try:
            yield
        except Exception as error:
            self.fail(f"{label}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def trainable(self) -> list[str]:
        """The methods that are asked for and train something."""
        return [name for name in self.names or methods.names() if name != "zero_shot"]


def run(part: Part, work: Callable[[Part], None]) -> dict[str, Any]:
    """Do a part within its time: `status` pass, fail or skipped, the `reason`, `seconds`, and what it `found`."""
    start = time.perf_counter()
    print(f"{part.name}: {part.left:.0f} s at most", flush=True)
    try:
        with _ended_at(part.end):
            work(part)
    except TimeUp:
        part.cut = "its time was used up in the middle"
    except Exception:
        part.fail(traceback.format_exc(limit=3))
    status = "fail" if part.failures else "skipped" if part.cut and not part.found else "pass"
    reason = "; ".join([*part.failures[:3], *filter(None, [part.cut])])
    seconds = time.perf_counter() - start
    return {"status": status, "reason": reason, "seconds": round(seconds, 1), "found": part.found, "failures": part.failures}


@contextmanager
def _ended_at(end: float) -> Iterator[None]:
    def raise_(_: int, __: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, raise_)
    signal.setitimer(signal.ITIMER_REAL, max(end - time.perf_counter(), 0.1) + GRACE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def seconds(run: Callable[[], object], place: torch.device, *, repeats: int) -> float:
    """The median of some runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        wait(place)
        start = time.perf_counter()
        run()
        wait(place)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def line(report: dict[str, Any], name: str) -> list[str]:
    """A part in the summary."""
    return [name, report["status"], significant(report["seconds"]), report["reason"][:200]]
