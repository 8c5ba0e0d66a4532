"""Does this GPU compute what a CPU computes, go on to the same bits after a stop, and how fast is it? Six minutes, nothing but torch.

Random weights and noise: no network, weights or videos, and no packages for video, tables, workflow or pages. Each part has its share of
`--seconds`; the shares add up to more than all, as a part that ends early leaves its time to the next. A part is ended when its share is
used up, and says so. `--device cpu --small` goes through the same in small. Exit status 1 if a part fails.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import bits, machine, parity, processes, readers, speed
from benchmarks.gpu.part import Part, line, run
from pipeline.config.parse import refuse_unknown
from pipeline.core import record
from pipeline.core.files import write_json
from pipeline.core.formatting import aligned
from pipeline.methods import names
from pipeline.runtime import device
from pipeline.stages import guarded

# Each part, and the share of the time that it may take.
PARTS: dict[str, tuple[Callable[[Part], None], float]] = {
    "machine": (machine.work, 0.05),
    "parity": (parity.work, 0.28),
    "resume": (bits.resume, 0.14),
    "bits": (bits.gradients, 0.12),
    "speed": (speed.work, 0.45),
    "loader": (readers.loader, 0.10),
    "embedding": (readers.embedding, 0.12),
    "processes": (processes.work, 0.14),
}
LEAST = 2.0  # seconds with which a part is begun


def main() -> None:
    args = _arguments()
    place = device.choose(args.device)
    if place.type == "cpu" and not args.small:
        raise ValueError("on a CPU the whole check would take hours; give --small, too")
    for wanted, known, what in ((args.only, list(PARTS), "part"), (args.methods, names(), "method")):
        for name in wanted:
            refuse_unknown(name, known, what=f"there is no {what}", there="there are")
    device.prepare(place, threads=args.threads, seed=0)
    about = {"device": device.title(place), "small": args.small, "commit": record.commit(), "torch": torch.__version__}
    reports = _parts(args, place, about)
    print(aligned([["part", "status", "seconds", "reason"], *(line(reports[name], name) for name in reports)], left=4), end="")
    failed = [name for name, report in reports.items() if report["status"] == "fail"]
    print(f"{len(failed)} parts failed: {', '.join(failed)}" if failed else "no part failed", flush=True)
    sys.exit(bool(failed))


def _parts(args: argparse.Namespace, place: torch.device, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The reports by part; the JSON is written after each, so that what is killed leaves what it had."""
    end, reports, rates = time.perf_counter() + args.seconds, dict[str, dict[str, Any]](), dict[str, float]()
    for name in args.only or PARTS:
        work, share = PARTS[name]
        own = min(end, time.perf_counter() + share * args.seconds)
        part = Part(name, place, args.small, args.methods, rates, end=own)
        if part.left < LEAST:
            reports[name] = {"status": "skipped", "reason": "no time was left", "seconds": 0.0, "found": {}, "failures": []}
        else:
            reports[name] = run(part, work)
        if args.json:
            write_json(args.json, about | {"seconds": args.seconds, "parts": reports})
    return reports


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="a GPU, whoever is on it; or cpu")
    parser.add_argument("--small", action="store_true", help="a small CLIP and few videos in every part")
    parser.add_argument("--seconds", type=float, default=330, help="for all parts together")
    parser.add_argument("--only", nargs="+", default=[], help=f"of {', '.join(PARTS)}")
    parser.add_argument("--methods", nargs="+", default=[], help="only these, in the parts that go through methods")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
