"""From clips to report on a real Slurm, and through what clusters do to jobs. `-m cluster` runs the slower half (docs/cluster.md)."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from pipeline.rules import slurm as cluster
from tests.cluster import accounts
from tests.cluster.conftest import METRICS, resumed
from tests.cluster.runs import PAGE, TRAINING, Run, environments, finishes, hashes, processes, wait_idle
from tests.cluster.slurm import until
from tests.workflow.conftest import Checkout, fresh, under_dvc

COLUMNS = "comment:200,partition:20,tres-per-job:20"


def ended(slurm, rule, state):
    return [number for number, now, _ in slurm.jobs(rule=rule) if now == state]


def running(slurm):
    """The number of the training job that runs."""
    return until(lambda: slurm.jobs(states="running", rule="rule_train"), seconds=60, what="a training job")[0][0]


def test_the_whole_workflow_in_a_fresh_clone_on_slurm_gives_the_bytes_of_a_local_run(slurm, finished, tmp_path):  # noqa: ARG001
    (tmp_path / "origin").mkdir()
    origin = under_dvc(fresh(tmp_path / "origin"))
    # `auto` asks for a GPU on a cluster, and the made-up ones are found to be none by torch, which then computes on the CPU.
    origin.edit("params.yaml", lambda text: text.replace("device: cpu", "device: auto") + "\nmachine: {workers: 0}\n")
    origin.edit("params.yaml", lambda text: text.replace("[zero_shot, full_finetune, vop, mv_adapter]", "[zero_shot, mv_adapter]"))
    origin.does("git add --all && git commit -q -m start && git clone -q . ../clone")
    checkout = Checkout(tmp_path / "clone", warm=True)
    said = {command: checkout.does(command) for command in PAGE["Once for a cluster"] if not command.startswith("sacctmgr")}
    partitions, hidden, doctor, plan = said.values()
    assert {"cpu*", "gpu", "scavenge"} <= set(partitions.split()) and hidden == ""
    assert "fine     slurm" in doctor and "train" in plan
    # An adapter names its commit, and that of the other run names none.
    checkout.before = ("env", "GIT_DIR=/dev/null")
    planned = (checkout.folder / "params.yaml").read_text()
    run = Run(checkout).start()
    # Jobs wait in the queue; the numbers are those of the plan, whatever params.yaml says by then.
    asked, edits = set(), iter(["", "methods: [half a line", *(planned.replace("epochs: 3", f"epochs: {n}") for n in range(4, 12))])
    params = checkout.folder / "params.yaml"

    def watch():
        shown = subprocess.run(["squeue", "-h", "-O", COLUMNS], capture_output=True, text=True, check=False).stdout
        asked.update(tuple(line.split()) for line in shown.splitlines())
        if shown:
            params.write_text(next(edits, planned))
        return run.process.poll() is not None

    try:
        until(watch, seconds=420, what=f"the report\n{run.said()[-3000:]}")
        run.finish(seconds=1)
    finally:
        run.stop()
    assert (checkout.folder / "results/motion/report.html").exists()
    expected = {path: value for path, value in hashes(finished).items() if re.search("/(zero_shot|mv_adapter)/", path)}
    assert hashes(checkout) == expected and sum(path.endswith("/0/adapter.safetensors") for path in expected) == 2
    assert {(partition, gpus) for job, partition, gpus in asked if job.startswith("rule_train")} == {("gpu", "gres:gpu:1")}
    assert {(partition, gpus) for job, partition, gpus in asked if job.startswith("rule_transcode")} == {("cpu", "N/A")}
    assert not [job for job, _, _ in asked if job.startswith(("rule_download", "rule_annotate", "rule_splits", "rule_score"))]
    assert set(finishes(checkout).values()) == {1}
    assert next(edits, None) is None, "params.yaml was edited ten times while jobs waited"
    params.write_text(planned)
    assert checkout.planned() == {}, "each job is noted with what it was planned with"


@pytest.mark.cluster
def test_a_cancelled_job_a_killed_training_and_a_killed_snakemake_cost_only_restarts(slurm, disturbed):
    run = disturbed()
    run.until_training("mv_adapter")
    first = running(slurm)
    subprocess.run(["scancel", first], check=True)
    until(lambda: ended(slurm, "rule_train", "CANCELLED"), seconds=60, what="a cancelled job")

    second = until(lambda: running(slurm) != first and running(slurm), seconds=60, what="another try")
    training = until(lambda: processes(run.checkout, TRAINING), seconds=60, what="the training")
    os.kill(training[0], signal.SIGKILL)
    until(lambda: second in ended(slurm, "rule_train", "FAILED"), seconds=60, what="a failed job")

    third = until(lambda: running(slurm) != second and running(slurm), seconds=60, what="another try")
    until(lambda: processes(run.checkout, TRAINING), seconds=60, what="the training")
    run.kill()
    assert running(slurm) == third, "a job outlives its Snakemake"
    run.again()
    until(lambda: third in ended(slurm, "rule_train", "CANCELLED"), seconds=60, what=f"the end of the orphan\n{run.said()[-2000:]}")
    run.finish(seconds=300)
    assert f"Ended Slurm jobs of an earlier run: {third}." in run.said()
    assert resumed(run)


@pytest.mark.cluster
def test_slurmctld_may_be_killed_and_started_again(slurm, disturbed):
    run = disturbed()
    run.until_training("mv_adapter")
    slurm.end("slurmctld", how=signal.SIGKILL)
    # Longer than the ten seconds after which the plugin takes the queue's settings for unknown.
    subprocess.run(["sleep", "25"], check=True)
    slurm.start("slurmctld")
    run.finish(seconds=300)
    assert len(slurm.jobs(rule="rule_train")) == 1, "the training was not submitted again"


@pytest.mark.cluster
def test_time_limits_shorter_than_a_training_cost_restarts(slurm, disturbed):
    run = disturbed(max_runtime=1, warning=30)
    run.finish(seconds=900)
    assert resumed(run)
    tries = [number for number, _, _ in slurm.jobs(rule="rule_train")]
    assert re.search(r"SLURM status is: '(FAILED|TIMEOUT)'", run.said()), tries


@pytest.mark.cluster
def test_a_preempted_job_waits_in_the_queue_and_goes_on(slurm, disturbed):
    run = disturbed(gpu_partition="scavenge", cpu_partition="scavenge")
    run.until_training("mv_adapter")
    number = running(slurm)
    subprocess.run(["sbatch", "-p", "cpu", "-c", str(os.cpu_count()), "--mem=100", "-o", "/dev/null", "--wrap", "sleep 5"], check=True)
    until(lambda: (number, "PENDING") in [job[:2] for job in slurm.jobs(rule="rule_train")], seconds=60, what="a job back in the queue")
    run.finish(seconds=400)
    assert resumed(run)
    assert [job[0] for job in slurm.jobs(rule="rule_train")] == [number], "Slurm has put it back; Snakemake has not sent another"


@pytest.mark.cluster
def test_a_node_may_go_down_and_come_back(slurm, disturbed):
    run = disturbed()
    run.until_training("mv_adapter")
    slurm.ask("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    until(lambda: not slurm.jobs(states="running"), seconds=60, what="a job taken from its node")
    # Refused where slurmd was quicker to say that it is there.
    subprocess.run(["scontrol", "update", "nodename=n1", "state=resume"], capture_output=True, check=False)
    run.finish(seconds=400)
    assert resumed(run)


@pytest.mark.cluster
def test_a_job_over_its_memory_is_tried_with_more(slurm, disturbed):
    run = disturbed("--set-resources", "train:mem_mb=500 * attempt", "train:slurm_partition=cpu")
    run.finish(seconds=400)
    assert ended(slurm, "rule_train", "COMPLETED") and len(slurm.jobs(rule="rule_train")) > 1
    wait_idle(slurm)


@pytest.mark.cluster
def test_without_a_partition_the_clusters_own_is_taken_and_a_wrong_one_ends_with_the_key_to_set(slurm, finished, tmp_path):
    checkout = finished.copy(tmp_path / "copy", warm=False)
    wrong = Run(checkout, METRICS, gpu_partition="nowhere", retries=0).start("--forcerun", "train")
    try:
        assert wrong.process.wait(120) == 1
    finally:
        wrong.stop()
    assert wrong.said().count("set cpu_partition and gpu_partition") == 1, wrong.said()
    run = Run(checkout, METRICS, cpu_partition="", gpu_partition="").start("--forcerun", "train")
    try:
        run.finish(seconds=200)
    finally:
        run.stop()
    assert slurm.ask("squeue", "-h", "--states=all", "-o", "%P").split() == ["cpu", "cpu"]


@pytest.mark.cluster
@pytest.mark.parametrize("slurm", [{"nodes": 2}], indirect=True)
def test_two_nodes_share_a_training(slurm, finished, tmp_path):
    checkout = finished.copy(tmp_path / "copy")
    checkout.edit("params.yaml", lambda text: text + "\nmachine: {nodes: 2, workers: 0}\n")
    record = checkout.folder / "runs/motion/clip-tiny/mv_adapter/0/train.json"
    alone = json.loads(record.read_text())
    run = Run(checkout, METRICS).start("--forcerun", "train")
    try:
        run.finish(seconds=300)
    finally:
        run.stop()
    together = json.loads(record.read_text())
    assert [epoch["loss"] for epoch in together["epochs"]] == pytest.approx([epoch["loss"] for epoch in alone["epochs"]], abs=1e-4)
    nodes = slurm.ask("squeue", "-h", "--states=all", "-O", "comment:60,nodelist:20").split("\n")
    assert [row.split()[1] for row in nodes if row.startswith("rule_train_wildcards_motion_mv_adapter")] == ["n[1-2]"]


@pytest.mark.cluster
@pytest.mark.parametrize("slurm", [{"accounting": True}], indirect=True)
def test_where_accounts_are_kept_the_status_is_asked_of_sacct(slurm, finished, tmp_path):
    assert cluster.status(2) == cluster.Status("sacct", 2)
    checkout = finished.copy(tmp_path / "copy")
    shutil.rmtree((checkout.folder / METRICS).parent)
    own, qualities = (command for command in PAGE["Once for a cluster"] if command.startswith("sacctmgr"))
    assert checkout.does(own).split() == [accounts.ACCOUNT] and "normal" in checkout.does(qualities).split()
    # Which program was asked is written to Snakemake's log at this level only.
    run = Run(checkout, METRICS, account=accounts.ACCOUNT).start("--verbose")
    try:
        run.finish(seconds=300)
    finally:
        run.stop()
    assert hashes(checkout) == hashes(finished)
    assert set(re.findall(r"Status query timing \(cycle\): command=(\w+)", run.said())) == {"sacct"}
    assert sacct(slurm, "Account,Partition,State") == [f"{accounts.ACCOUNT}|gpu|COMPLETED"] * 2, "a training and its embeddings"


@pytest.mark.cluster
@pytest.mark.parametrize("slurm", [{"accounting": True}], indirect=True)
def test_slurmdbd_may_be_killed_and_started_again(slurm, disturbed):
    run = disturbed("--verbose")
    run.until_training("mv_adapter")
    slurm.end("slurmdbd", how=signal.SIGKILL)
    until(lambda: "query command failed: sacct: error" in run.said(), seconds=60, what="a question without an answer")
    slurm.start("slurmdbd")
    run.finish(seconds=300)
    assert len(slurm.jobs(rule="rule_train")) == 1, "the training was not submitted again"
    assert set(sacct(slurm, "State")) == {"COMPLETED"}


def sacct(slurm, columns):
    """A line for each job."""
    return slurm.ask("sacct", "-X", "--noheader", "--parsable2", f"--format={columns}").splitlines()


@pytest.mark.cluster
@pytest.mark.parametrize("site", [{"gpu_model": "v100"}, {"gres": "gpu:v100:1"}], ids=["gpu_model", "gres"])
def test_a_training_gets_the_gpu_and_the_prologue_of_the_site(slurm, finished, tmp_path, site):
    checkout = finished.copy(tmp_path / "copy", warm=False)
    checkout.edit("params.yaml", lambda text: text.replace("device: cpu", "device: auto") + "\nmachine: {workers: 0}\n")
    shutil.rmtree((checkout.folder / METRICS).parent)
    # What the job knows and the login node does not; `&&` and quotes as in a real one.
    run = Run(checkout, METRICS, prologue="export SEEN='of '$SLURM_JOB_ID && echo $SEEN >> seen.txt", **site).start()
    try:
        found = until(lambda: environments(checkout, TRAINING), seconds=120, what=f"the training\n{run.said()[-2000:]}")[0]
        number = running(slurm)
        run.finish(seconds=300)
    finally:
        run.stop()
    assert hashes(checkout) == hashes(finished)
    assert found["SEEN"] == f"of {number}", "the prologue ran in the job, before the training"
    assert found["CUDA_VISIBLE_DEVICES"] == "1", "the v100 is the second"
    jobs = [job for job, _, _ in sorted(slurm.jobs(), key=lambda job: int(job[0]))]
    assert (checkout.folder / "seen.txt").read_text().split("\n")[:-1] == [f"of {job}" for job in jobs]
