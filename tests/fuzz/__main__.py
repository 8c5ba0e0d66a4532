"""Broken files at the project's entries: `python -m tests.fuzz --minutes 10`.

Whole files are made, mutated, and given to what reads them in the project, each in a process with a time limit. A fault is a traceback, or
an error that is no sentence about the file; a hang; a crash; a file that is left behind. Exit code 1 if there is one.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.play import Count, play
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="in all, shared by the targets")
    parser.add_argument("--inputs", type=int, default=0, help="so many of each target, whatever time that takes")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other inputs")
    parser.add_argument("--only", nargs="+", choices=sorted(TARGETS), default=list(TARGETS), help="targets")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-found"), help="folder for the inputs that failed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="petl-vtr-fuzz-") as home:
        counts = play(args.only, home=Path(home), kept=args.kept, seed=args.seed, seconds=60 * args.minutes, inputs=args.inputs)
    print(f"{'target':12s} {'inputs':>8s} {'taken':>8s} {'refused':>8s} {'faults':>8s}")
    for name, count in counts.items():
        print(f"{name:12s} {count.inputs:8d} {count.taken:8d} {count.refused:8d} {count.faults.total():8d}")
    return _told(counts, args.kept)


def _told(counts: dict[str, Count], kept: Path) -> int:
    faults = [(name, kind, number, count.first[kind]) for name, count in counts.items() for kind, number in count.faults.most_common()]
    for name, kind, number, why in faults:
        print(f"\n{name}: {kind}, {number} times; inputs in {kept / name}\n{why}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
