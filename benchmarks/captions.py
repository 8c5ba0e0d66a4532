"""Reading captions.csv: 200,000 captions of 10,000 files, and 20,000 wrong lines: `python -m benchmarks.captions`.

Seconds until the lines or the mistakes are there, best of a few. Beside them what only looking for the files takes in the other way,
comparing each line with every name; it is timed on some of the lines.
"""

import argparse
import contextlib
import difflib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pipeline.config.dataset import Dataset
from pipeline.datasets import folder
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.own.names import below
from pipeline.stages import guarded

TIMED = 40  # lines that are compared with every name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--captions", type=int, default=200_000)
    parser.add_argument("--wrong", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        videos = Path(place, "videos")
        for number in range(args.files):
            file = videos / f"day {number % 10}" / f"holiday {number:06d}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        names = sorted(below(videos))
        right = [str(PurePosixPath(names[n % args.files]).with_suffix("")) for n in range(args.captions)]
        wrong = [f"day {n % 10}/holyday {n:06d}" for n in range(args.wrong)]
        print("| lines | read s | every name s | ratio |\n|---|---:|---:|---:|")
        for title, lines in (("endings left out", right), ("wrong", wrong)):
            file = Path(place, "captions.csv")
            file.write_text(
                "video,caption\n" + "".join(f"{name},somebody does thing {n}\n" for n, name in enumerate(lines)), encoding="utf-8"
            )
            settings = Dataset(videos=str(videos), captions=str(file))
            took = min(_seconds(lambda settings=settings: _read(settings)) for _ in range(args.repeat))
            other = _seconds(lambda lines=lines: _compare(lines[:TIMED], names)) * len(lines) / len(lines[:TIMED])
            print(f"| {len(lines):,}, {title} | {took:.2f} | {other:,.0f} | {other / took:,.0f} |")


def _read(settings: Dataset) -> None:
    with contextlib.suppress(ValueError):  # which lists the wrong lines
        folder.read(settings, "mine")


def _compare(lines: Sequence[str], names: Sequence[str]) -> None:
    for line in lines:
        path = PurePosixPath(line)
        same = [name for name in names if PurePosixPath(name).parent == path.parent and stem(PurePosixPath(name).name) == path.name]
        if not same:
            difflib.get_close_matches(line, names[:2000], n=1)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    guarded(main)
