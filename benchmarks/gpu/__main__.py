"""Does this GPU compute what a CPU computes, go on to the same bits after a stop, and how fast is it? Under six minutes.

Random weights and noise: no network, no weights, no videos. Methods and their options are those of the registry and of
tests/methods/cases.py. Each part may take until its share of `--seconds` is over, and what the parts before it have left; one whose time
is up ends there and says so. The findings stand on the standard output, as a page, and in the file `--json`, which is written after each
part. `--device cpu` goes through the same in small, and compares the CPU with itself. Exit status 1 if a part fails.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import parity, processes, readers, resume, steps
from benchmarks.gpu.part import Part, run
from pipeline.config.parse import refuse_unknown
from pipeline.core import record
from pipeline.core.files import write_json
from pipeline.core.formatting import markdown
from pipeline.methods import names
from pipeline.runtime import device
from pipeline.stages import guarded

# Each part, and its share of the time.
PARTS: dict[str, tuple[Callable[[Part], None], float]] = {
    "parity": (parity.work, 0.28),
    "resume": (resume.work, 0.15),
    "steps": (steps.work, 0.33),
    "loader": (readers.loader, 0.06),
    "embedding": (readers.embedding, 0.08),
    "processes": (processes.work, 0.10),
}
HEAD = ("part", "status", "seconds", "done", "said")


def main() -> None:
    args = _arguments()
    place = device.choose(args.device)
    chosen = args.parts or list(PARTS)
    for wanted, known, what in ((chosen, list(PARTS), "part"), (args.methods, names(), "method")):
        for name in wanted:
            refuse_unknown(name, known, what=f"there is no {what}", there="there are")
    threads = torch.get_num_threads()
    report = _about(args, place, threads=threads) | {"parts": {}}
    end, shares = time.perf_counter(), sum(PARTS[name][1] for name in chosen)
    for name in chosen:
        work, share = PARTS[name]
        end += args.seconds * share / shares
        device.prepare(place, threads=threads, seed=0)
        report["parts"][name] = run(Part(name, place, args.methods or names(), end=end), work)
        if args.json:
            write_json(args.json, report)
    print(shown(report), end="", flush=True)
    sys.exit(any(part["status"] == "fail" for part in report["parts"].values()))


def _about(args: argparse.Namespace, place: torch.device, *, threads: int) -> dict[str, Any]:
    """Not all that `record.describe` has: the packages of videos and of the workflow may be missing where a GPU is checked."""
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()}
    return {
        "device": device.title(place),
        "commit": record.commit(),
        "versions": versions,
        "threads": threads,
        "seconds allowed": args.seconds,
    }


def shown(report: dict[str, Any]) -> str:
    """A report as a page: what became of the parts, and a table for each."""
    about = "; ".join(f"{key}: {_said(value)}" for key, value in report.items() if key not in ("device", "parts"))
    summary = table(HEAD, [_line(name, part) for name, part in report["parts"].items()])
    sections = [piece for name, part in report["parts"].items() for piece in _section(name, part)]
    return "\n\n".join([f"# The check of a GPU: {report['device']}", about, summary, *sections]) + "\n"


def _line(name: str, part: dict[str, Any]) -> list[Any]:
    said = [*part["failures"], *(["its time was up"] if part["cut"] else [])]
    return [name, part["status"], part["seconds"], f"{part['done']} of {part['wanted']}", "; ".join(said)]


def _section(name: str, part: dict[str, Any]) -> list[str]:
    pieces = [f"## {name}"]
    if part["facts"]:
        pieces.append("\n".join(f"- {key}: {_said(value)}" for key, value in part["facts"].items()))
    if part["rows"]:
        head = list(part["rows"][0])
        pieces.append(table(head, [[row[key] for key in head] for row in part["rows"]]))
    return pieces


def _said(value: Any) -> str:
    """As words: yes, no, nothing for what does not apply."""
    if isinstance(value, dict):
        return ", ".join(f"{key} ({_said(one)})" if isinstance(one, dict) else f"{key} {_said(one)}" for key, one in value.items())
    return "" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """In Markdown."""
    return markdown(head, ([_said(value) for value in line] for line in lines)).rstrip("\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="a GPU, whoever is on it; or cpu")
    parser.add_argument("--seconds", type=float, default=330, help="for all parts together")
    parser.add_argument("--parts", nargs="+", default=[], help=f"only these of {', '.join(PARTS)}")
    parser.add_argument("--methods", nargs="+", default=[], help="only these")
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
