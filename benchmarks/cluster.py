"""Cost of Slurm beside the work: `python -m benchmarks.cluster`.

Overhead: jobs that do nothing, on the Slurm of the tests (as root, where it is installed) and on this machine alone. Calls: a thousand jobs
that stay pending in a made-up queue, whose commands count how often they are called, a minute, by Snakemake under the profile.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from pipeline.core.code import ROOT
from pipeline.stages import guarded
from tests.cluster.slurm import Slurm, missing

SNAKEFILE = """
rule all:
    input: expand("done/{number}", number=range(%d))
    localrule: True

rule one:
    output: "done/{number}"
    resources: mem_mb=400, runtime=5
    shell: "touch {output}"
"""
# slurmctld as the plugin meets it: it says how it is set, takes every job, and never starts one.
QUEUE = {
    "scontrol": "echo 'AccountingStorageType = accounting_storage/none'; echo 'MinJobAge = 300 sec'; echo 'MaxArraySize = 1001'",
    "sbatch": "echo $$",
    "squeue": "",
    "sinfo": "echo cpu",
    "scancel": "",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("calls", "overhead"), help="one of the two")
    parser.add_argument("--jobs", type=int, default=10, help="that do nothing")
    parser.add_argument("--pending", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=8, help="to count calls for, besides the minutes of submission")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        if args.only != "overhead":
            calls(_prepared(Path(folder, "calls"), args.pending), args.pending, args.minutes)
        if args.only != "calls":
            if missing():
                raise ValueError(f"no overhead was measured: {missing()}")
            overhead(Path(folder), args.jobs)


def _prepared(folder: Path, number: int) -> Path:
    """A folder with the profile and a workflow of so many jobs."""
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE % number, encoding="utf-8")
    shutil.copytree(ROOT / "slurm", folder / "slurm")
    (folder / "pipeline").symlink_to(ROOT / "pipeline")
    return folder


def overhead(folder: Path, number: int) -> None:
    """Print seconds a job, one after the other, with and without Slurm."""
    words = ["snakemake", "--cores", "1"]
    alone = _timed(words, _prepared(folder / "alone", number), {})
    with Slurm():
        site = {"PETL_SLURM_JOBS": "1", "PETL_SLURM_POLL": "1", "PETL_SLURM_LATENCY": "5"}
        slurm = _timed([*words, "--profile", "slurm"], _prepared(folder / "slurm", number), site)
        began = time.monotonic()
        for _ in range(number):
            subprocess.run(["srun", "-n1", "true"], check=True)
        bare = time.monotonic() - began
    print(f"{number} idle jobs one after the other, seconds each: {alone / number:.1f} without Slurm, {slurm / number:.1f} with it")
    print(f"of which Slurm itself, by srun: {bare / number:.2f}")


def calls(folder: Path, number: int, minutes: float) -> None:
    """Print the calls a minute to each of Slurm's commands while all jobs are submitted, and while they are pending."""
    counted = folder / "calls"
    programs = folder / "bin"
    programs.mkdir()
    for name, text in QUEUE.items():
        (programs / name).write_text(f"#!/bin/sh\necho $(date +%s) {name} >> {counted}\n{text}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "PETL_SLURM_JOBS": str(number), "PETL_SLURM_PER_MINUTE": "300"}
    words = ["snakemake", "--cores", "1", "--profile", "slurm"]
    with (folder / "out").open("w", encoding="utf-8") as out:
        run = subprocess.Popen(words, cwd=folder, env=os.environ | environment, stdout=out, stderr=out)
        try:
            while _number(counted, "sbatch") < number and run.poll() is None:
                time.sleep(1)
            submitted = time.time()
            time.sleep(60 * minutes)
        finally:
            run.kill()
            run.wait()
    lines = [line.split() for line in counted.read_text(encoding="utf-8").splitlines()]
    first = int(lines[0][0])
    before = Counter(name for second, name in lines if int(second) <= submitted)
    after = Counter(name for second, name in lines if int(second) > submitted)
    span = (submitted - first) / 60
    print(f"{number} jobs submitted in {span:.1f} minutes; calls a minute: {_rates(before, span)}")
    print(f"{number} jobs pending for {minutes:g} minutes; calls a minute: {_rates(after, minutes)}")


def _number(counted: Path, name: str) -> int:
    return counted.read_text(encoding="utf-8").count(f" {name}\n") if counted.exists() else 0


def _rates(numbers: Counter[str], minutes: float) -> str:
    return ", ".join(f"{name} {number / minutes:.1f}" for name, number in sorted(numbers.items())) or "none"


def _timed(words: list[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - began


if __name__ == "__main__":
    guarded(main)
