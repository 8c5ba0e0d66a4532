"""The work and the space that a params.yaml still needs: trainings and stores, GPU hours at an assumed speed, and disk (docs/plan.md)."""

import argparse
import json
import os
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from pipeline import datasets
from pipeline.config.params import FILE, known_files, load_params
from pipeline.core.code import ROOT
from pipeline.rules import hours, plan
from pipeline.rules.doctor import disk
from pipeline.rules.doctor.line import Case
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    os.chdir(args.directory)
    params = load_params(FILE)
    known_files(params, ROOT / "pipeline")
    case = Case(params, counts=datasets.counts(params), choices=plan.choices(params))
    speed = hours.Speed(work=args.tmacs * 1e12, read=args.read * 1e9, start=args.start)
    jobs = hours.jobs(case, params, made=lambda path: not Path(path).exists(), speed=speed)
    parts = list(disk.planned(case, params))
    if args.json:
        found = {"jobs": [asdict(job) for job in jobs], "hours": hours.makespan(jobs, gpus=args.gpus), "bytes": sum(p.bytes for p in parts)}
        print(json.dumps(found, indent=1))
        return
    print("\n".join(_lines(jobs)))
    print(hours.told(jobs, parts, gpus=args.gpus, speed=speed))


def _lines(jobs: list[hours.Job]) -> list[str]:
    """GPU hours of each run on each dataset, all seeds together, and of what is written once for all."""
    sums = defaultdict[str, float](float)
    for job in jobs:
        parts = Path(job.path).parts
        sums[f"{parts[1]} {parts[3]}" if job.rule != "features" else f"{parts[1]} stores"] += job.hours
    return [f"{name:40} {total:8.2f} GPU hours" for name, total in sums.items()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    speed = hours.Speed()
    parser.add_argument("--directory", type=Path, default=Path(), help="the folder of params.yaml, as Snakemake's")
    parser.add_argument("--gpus", type=int, default=1, help="among which jobs are given out")
    parser.add_argument("--tmacs", type=float, default=speed.work / 1e12, help="10^12 multiply-accumulates of a GPU in a second")
    parser.add_argument("--read", type=float, default=speed.read / 1e9, help="GB that a job reads in a second")
    parser.add_argument("--start", type=float, default=speed.start, help="seconds before a job computes")
    parser.add_argument("--json", action="store_true", help="print JSON, a job each")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
