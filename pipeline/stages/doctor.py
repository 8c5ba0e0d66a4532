"""Look at machine, folder and params.yaml before a run; a line each, fine or with its remedy. Exit code 1 if a run cannot work."""

import argparse
import json
import os
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

from pipeline import datasets
from pipeline.config.params import FILE, known_files, load_params
from pipeline.config.schema import Params
from pipeline.core.code import ROOT
from pipeline.rules import plan
from pipeline.rules.doctor.examine import examine
from pipeline.rules.doctor.line import FINE, STOP, WARNING, Case, Line
from pipeline.stages import guarded

SAID = {FINE: "fine", WARNING: "warning", STOP: "wrong"}
WIDTH = 110
SECONDS = 8.0  # that a check may take


def main() -> None:
    args = _arguments()
    os.chdir(args.params.parent)  # as `snakemake --directory`: folders and files are relative to that of params.yaml
    lines, case = _case(Path(args.params.name), slurm=args.slurm)
    lines += examine(case, seconds=SECONDS)
    stops = sum(line.state == STOP for line in lines)
    if args.json:
        print(json.dumps({"lines": [asdict(line) for line in lines], "stops": stops}, indent=1))
    else:
        print("\n".join(map(_text, lines)))
    if stops:
        sys.stdout.flush()
        sys.exit(f"error: {stops} of these certainly stop a run")


def _case(file: Path, *, slurm: bool) -> tuple[list[Line], Case]:
    """The case with what params.yaml plans; if that is wrong, its sentence, and a case without it."""
    try:
        params = load_params(file)
        known_files(params, ROOT / "pipeline", where=str(file))
        counts = datasets.counts(params)
        choices = plan.choices(params, ask=False)
    except Exception as error:  # a file that is no YAML, too: Snakemake would end with it
        said = " ".join(str(error).split()) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return [Line("settings", STOP, said)], Case(None, slurm=slurm)
    return [Line("settings", FINE, _planned(params, counts))], Case(params, counts=counts, choices=choices, slurm=slurm)


def _planned(params: Params, counts: dict[str, int]) -> str:
    named = ", ".join(f"{name} with {count:,} videos" for name, count in counts.items())
    return f"{len(params.run.methods)} methods on {named}; {params.backbone.name}, device: {params.device}"


def _text(line: Line) -> str:
    start = f"{SAID[line.state]:8} {line.name:14} "
    return textwrap.fill(
        line.text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False, break_on_hyphens=False
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=FILE, help="what is planned, and whose folder is looked at")
    parser.add_argument("--slurm", action="store_true", help="jobs run on a cluster: this machine's GPUs and memory are not theirs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
