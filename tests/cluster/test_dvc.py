"""`dvc repro` and a queue of experiments whose Snakemakes send their jobs to a real Slurm (docs/dvc.md)."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from pipeline.rules import slurm as cluster
from tests import pages
from tests.cluster.runs import SITE, hashes
from tests.cluster.slurm import until
from tests.workflow.conftest import Checkout, fresh, under_dvc
from tests.workflow.test_dvc import OF_VOP, RUNS, UP_TO_DATE, cloned, ran, sweep, tracked, typed  # noqa: F401

pytestmark = pytest.mark.cluster

REPRO, SWEEP, START, SHOW, KILL = pages.commands("cluster.md")["DVC"]
PROFILE = " ".join(["SNAKEMAKE_PROFILE=slurm", *(f"PETL_SLURM_{key}={value}" for key, value in SITE.items())])
# What the page's commands get on the tests' Slurm.
HERE = {"SNAKEMAKE_PROFILE=slurm": PROFILE}
METHODS = ("zero_shot", "full_finetune", "vop", "mv_adapter")


def sent(slurm, rule=""):
    """(the Snakemake that sent it, state, comment) of each job of a rule."""
    rows = [line.split("|") for line in slurm.ask("squeue", "-h", "--states=all", "-o", "%j|%T|%k").splitlines()]
    return [row for row in rows if row[2].startswith(f"rule_{rule}")]


def test_from_nothing_dvc_sends_all_methods_together_and_gets_the_bytes_of_a_local_run(slurm, finished, tmp_path):
    (tmp_path / "slurm").mkdir()
    checkout = under_dvc(fresh(tmp_path / "slurm"))
    checkout.does("git add --all && git commit -q -m start")
    started, found = ran(typed(checkout, REPRO, **HERE))
    firsts = {f"{name}@motion-zero_shot{seed}" for name, seed in (("train", "-0"), ("embed", "-0"), ("evaluate", ""))}
    assert started == {"backbone", "raw@motion", "clips@motion", "report@motion", "selected"} | firsts
    assert len(found) == 3 * (len(METHODS) - 1)
    for rule in ("train", "embed"):
        jobs = sent(slurm, rule)
        assert len(jobs) == len(METHODS) and len({snakemake for snakemake, _, _ in jobs}) == 1, jobs
    assert {state for _, state, _ in sent(slurm)} == {"COMPLETED"}
    assert UP_TO_DATE in checkout.does(f"{PROFILE} dvc repro")
    assert checkout.planned() == {}
    # An adapter names its commit, so the other run needs the same.
    local = finished.copy(tmp_path / "local")
    shutil.rmtree(local.folder / "runs")
    shutil.copytree(checkout.folder / ".git", local.folder / ".git")
    done = local.snakemake("--", *(f"{RUNS}/{method}/0/metrics.json" for method in METHODS))
    assert done.returncode == 0, done.output
    assert len(hashes(local)) >= 3 * len(METHODS) and hashes(checkout) == hashes(local)


def test_experiments_of_a_queue_share_slurm_and_leave_the_jobs_of_each_other_alone(slurm, tracked):  # noqa: F811
    sweep(tracked, (SWEEP, START, SHOW), **HERE)
    folders = {snakemake.split("_")[0] for snakemake, _, _ in sent(slurm)}
    assert len(folders) == 2 and cluster.name(tracked.folder) not in folders
    trained = {snakemake.split("_")[0] for snakemake, _, _ in sent(slurm, "train_wildcards_motion_vop")}
    assert trained == folders and len(sent(slurm, "train")) == 2
    assert {state for _, state, _ in sent(slurm)} == {"COMPLETED"}


def test_an_experiment_that_is_killed_ends_its_slurm_jobs(slurm, tracked):  # noqa: F811
    tracked.warm = False
    tracked.does('sed -i "s/vop: {}/vop: {train: {lr: 1.0e-2, epochs: 400}}/" params.yaml && git commit -q -a -m long')
    # What the worker in the background says would be waited for to its end.
    typed(tracked, SWEEP.replace("=0.003,0.03", "=0.003"), f"{START} > started.txt 2>&1", **HERE)
    until(lambda: [state for _, state, _ in sent(slurm, "train") if state == "RUNNING"], seconds=240, what="a training")
    (name,) = re.findall(r"^(\w+) .*Running", tracked.does("dvc queue status"), flags=re.MULTILINE)
    typed(tracked, KILL, **{"<name>": name})
    until(lambda: [state for _, state, _ in sent(slurm, "train")] == ["CANCELLED"], seconds=60, what="the end of its job")
    until(lambda: "Running" not in tracked.does("dvc queue status"), seconds=60, what="the end of the experiment")


def test_a_killed_repro_goes_on_and_ends_its_orphan(slurm, tracked, tmp_path):  # noqa: F811
    tracked.warm = False
    tracked.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {epochs: 60}}"))
    tracked.does(f"cp -a . {tmp_path}/local")
    local = Checkout(tmp_path / "local", warm=True)
    done = local.snakemake("--", f"{RUNS}/vop/0/metrics.json")
    assert done.returncode == 0, done.output
    log = tracked.folder / "logs/train/motion.vop.0.log"
    log.unlink(missing_ok=True)
    killed = subprocess.Popen(["bash", "-c", f"{PROFILE} dvc repro"], cwd=tracked.folder, env=tracked.environment(), start_new_session=True)
    until(lambda: log.exists() and "epoch 10:" in log.read_text(), seconds=180, what="a training")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    (orphan,) = cluster.orphans(cluster.name(tracked.folder))
    said = typed(tracked, REPRO, **HERE)
    assert f"Ended Slurm jobs of an earlier run: {orphan}." in said
    assert ran(said)[0] == OF_VOP | {"report@motion", "selected"}
    assert 0 < log.read_text().count("\nepoch ") < 55, "it went on from its state"
    assert sorted(state for _, state, _ in sent(slurm, "train")) == ["CANCELLED", "COMPLETED"]
    assert hashes(tracked) == hashes(local)
    assert UP_TO_DATE in tracked.does(f"{PROFILE} dvc repro") and tracked.planned() == {}
