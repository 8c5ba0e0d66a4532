"""Progress that is a bar on a terminal and readable in a log."""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], *, total: int, label: str) -> Iterator[Item]:
    """`items` with progress and the time that is left, on stderr: a bar on a terminal, a line every tenth of the way in a log."""
    terminal = sys.stderr.isatty()
    step = math.ceil(total / 10)
    start = time.monotonic()
    for done, item in enumerate(tqdm(items, desc=label, total=total, disable=not terminal), start=1):
        yield item
        if not terminal and (done % step == 0 or done == total):
            left = (time.monotonic() - start) / done * (total - done)
            estimate = f", {tqdm.format_interval(left)} left" if done < total else ""
            print(f"{label}: {done} of {total}{estimate}", file=sys.stderr, flush=True)
