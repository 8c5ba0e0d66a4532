"""Twenty random faults in one run on a real Slurm: `python -m tests.cluster.kills [--kills 20] [--seed 0]`, as root, with Slurm installed.

Two trainings, with what comes before and after them, are disturbed until the number is reached, and then left to finish. The second half of
the faults waits for a training. The results must have the hashes of a run without Slurm, and no job that Snakemake had noted as finished
may have run again.
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.cluster.runs import TRAINING, Run, finishes, hashes, longer, processes
from tests.cluster.slurm import Slurm, missing
from tests.workflow.conftest import Checkout, fresh

METHODS = {"mv_adapter": "config: {middle: 32}, ", "vop": ""}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=600, help="long enough for the faults to come before the end")
    args = parser.parse_args()
    if missing():
        raise SystemExit(f"no Slurm can be started here: {missing()}")
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        local, remote = Path(folder, "local"), Path(folder, "slurm")
        for place in (local, remote):
            place.mkdir()
            fresh(place)
            longer(Checkout(place), METHODS, epochs=args.epochs)
        done = Checkout(local).snakemake()
        assert done.returncode == 0, done.output
        began = time.monotonic()
        with Slurm() as slurm:
            counts = disturb(slurm, Run(Checkout(remote), retries=1000), chance, args.kills)
        check(Checkout(local), Checkout(remote), counts, time.monotonic() - began)


def disturb(slurm, run, chance, kills):
    """One fault every few seconds until there were `kills`, then wait for the end. Fault -> number."""
    counts = {}
    run.start()
    trains = False
    try:
        while sum(counts.values()) < kills and goes_on(run):
            time.sleep(chance.uniform(3, 15))
            repair(slurm)
            trains = trains or bool(processes(run.checkout, TRAINING))
            if sum(counts.values()) >= kills // 2 and not trains:
                continue
            # The first that finds something to hit, in random order.
            fault = next((fault for fault in chance.sample(FAULTS, len(FAULTS)) if fault(slurm, run, chance)), None)
            if fault:
                counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
                print(f"{sum(counts.values())}: {fault.__name__}", flush=True)
        end = time.monotonic() + 1800
        while goes_on(run) and time.monotonic() < end:
            repair(slurm)
            time.sleep(2)
        run.finish(seconds=1)
    finally:
        run.stop()
    return counts


def goes_on(run):
    """Whether Snakemake runs; started again if it met a slurmctld that was down, at its start, and said so."""
    if run.process.poll() is None:
        return True
    if run.process.returncode and "squeue does not answer" in run.said()[-1000:]:
        print("started again, as slurmctld was down", flush=True)
        run.again()
        return True
    return False


def repair(slurm):
    """A remedy that takes an admin on a real cluster too (docs/cluster.md)."""
    for name in slurm.revive():
        print(f"resumed or released: {name}", flush=True)


def cancel(slurm, _run, chance):
    numbers = [number for number, _, _ in slurm.jobs(states="running,pending")]
    return bool(numbers) and not subprocess.run(["scancel", chance.choice(numbers)], check=False).returncode


def requeue(slurm, _run, chance):
    numbers = [number for number, _, _ in slurm.jobs(states="running")]
    return bool(numbers) and not subprocess.run(["scontrol", "requeue", chance.choice(numbers)], check=False).returncode


def kill_training(_slurm, run, chance):
    return kill_one(processes(run.checkout, TRAINING), chance)


def kill_job_step(_slurm, run, chance):
    """The Snakemake within a job."""
    jobs = [number for number in processes(run.checkout, "snakemake") if number != run.process.pid]
    return kill_one(jobs, chance)


def kill_one(numbers, chance):
    if not numbers:
        return False
    try:
        os.kill(chance.choice(numbers), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_snakemake(_slurm, run, _chance):
    if run.process.poll() is not None:
        return False
    run.kill()
    run.again()
    return True


def kill_slurmctld(slurm, _run, chance):
    slurm.end("slurmctld", how=signal.SIGKILL)
    time.sleep(chance.uniform(0, 15))
    slurm.start("slurmctld")
    return True


FAULTS = (cancel, kill_training, requeue, kill_snakemake, kill_slurmctld, kill_job_step)


def check(local, remote, counts, seconds):
    expected, found = hashes(local), hashes(remote)
    again = {output: number for output, number in finishes(remote).items() if number > 1}
    print(f"{sum(counts.values())} faults in {seconds:.0f} s: {counts}")
    same = sum(found.get(path) == value for path, value in expected.items())
    print(f"{len(found)} results, {same} of {len(expected)} with the same hash")
    print(f"jobs that were finished and ran again: {again or 'none'}")
    assert found == expected and not again
    assert (remote.folder / "results/motion/report.html").exists()


if __name__ == "__main__":
    main()
