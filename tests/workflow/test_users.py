"""Users who are not root, edit params.yaml while jobs wait, and have several checkouts."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from pipeline.rules import configuration, protected
from tests.workflow.conftest import fresh
from tests.workflow.test_dvc import ADAPTER, RATE, RUNS, UP_TO_DATE, cloned, tracked  # noqa: F401

RIGHTS = "-dac_override,-dac_read_search,-fowner"


@pytest.fixture
def owner(tracked):  # noqa: F811
    """A checkout that DVC has taken over, of a user who may not write where the permissions say no: root has that right taken away."""
    if os.geteuid() == 0:
        tracked.warm = False  # what is forked keeps root's rights
        assert shutil.which("setpriv"), "setpriv (util-linux) is needed to run as root without root's rights"
        tracked.before = ("setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}")
    assert not os.access(tracked.folder / ADAPTER, os.W_OK) or os.geteuid() == 0
    return tracked


def test_what_dvc_has_protected_is_taken_over_and_made_again(owner):
    writable = owner.run("bash", "-c", f"[ -w {ADAPTER} ] && echo yes || echo no").stdout
    assert writable == "no\n", "this user is stopped by permissions"
    assert "has taken over" in owner.does("python -m pipeline.stages.dvc adopt")
    stored = {path: path.read_bytes() for path in (owner.folder / ".dvc/cache").rglob("*") if path.is_file()}
    owner.edit("params.yaml", lambda text: text.replace(*RATE))
    assert owner.planned() == {"train": 1, "embed": 1, "score": 1, "evaluate": 1, "report": 1}
    assert owner.planned("--profile", "slurm") == owner.planned()
    done = owner.snakemake("--forcerun", "transcode", "--", f"{RUNS}/vop/0/metrics.json", "data/motion/clips/000")
    assert done.returncode == 0, done.output
    assert {path: path.read_bytes() for path in stored} == stored, "the cache keeps what it has"
    owner.does("git checkout -q . && dvc checkout -q --force && python -m pipeline.stages.dvc adopt")
    assert UP_TO_DATE in owner.does("dvc repro") and owner.planned() == {}


def test_what_the_user_has_protected_is_refused_as_ever(owner):
    owner.does(f"cp {RUNS}/vop/0/metrics.json kept && chmod a-w kept && mv -f kept {RUNS}/vop/0/metrics.json")
    refused = owner.snakemake("-n", "--force", "--", f"{RUNS}/vop/0/metrics.json")
    assert refused.returncode == 1 and "Write-protected output files" in refused.output
    owner.does(f"ln {ADAPTER} another-link")
    quiet = owner.snakemake("-n", "--quiet", "--force", "--", ADAPTER)
    assert quiet.returncode == 0 and "Plan: " not in quiet.output


def test_a_setting_edited_after_the_plan_does_not_reach_its_jobs(checkout):
    """As on a cluster: each job is a Snakemake that reads the Snakefile again, here as the process that Slurm would start."""
    adapter, record = f"{RUNS}/vop/0/adapter.safetensors", checkout.folder / f"{RUNS}/vop/0/train.json"
    checkout.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {epochs: 4}}"))
    planned = json.loads(checkout.does("python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open(\"params.yaml\"))))'"))
    text = (checkout.folder / "params.yaml").read_text()
    word = keep(checkout, planned)
    job = ("--mode", "remote", "--force", "--nolock", "--no-hooks", "--ignore-incomplete", "--config", word, "--", adapter)
    for edited in (text.replace("epochs: 4", "epochs: 2"), text.replace("vop", "vpo"), "methods: [half a line", ""):
        (checkout.folder / "params.yaml").write_text(edited)
        done = checkout.snakemake(*job)
        assert done.returncode == 0, done.output
        assert json.loads(record.read_text())["epochs"][-1]["epoch"] == 4
    (checkout.folder / word.partition("=")[2]).unlink()
    gone = checkout.snakemake(*job)
    assert gone.returncode == 1 and "with which this job was planned; start Snakemake again" in " ".join(gone.output.split())


def keep(checkout, config):
    """The run of the plan's Snakemake in the folder of the checkout."""
    with contextlib.chdir(checkout.folder):
        return configuration.keep(config)


def test_the_plan_hands_its_configuration_to_its_jobs(checkout):
    folder = checkout.folder / ".snakemake/petl-vtr"
    shutil.rmtree(folder)
    done = checkout.snakemake("--forcerun", "selected", "--config", "score={bootstrap: 300}", "--", "metrics/selected.json")
    assert done.returncode == 0, done.output
    (kept,) = folder.iterdir()
    assert json.loads(kept.read_text())["score"] == {"bootstrap": "300"}, "what was said to this Snakemake is in it"


def test_dvc_does_not_note_new_values_beside_old_results(tracked):  # noqa: F811
    """An edit while a stage runs: DVC reads params.yaml again at its end."""
    tracked.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {epochs: 5}}"))
    before = (tracked.folder / "dvc.lock").read_text()
    log = tracked.folder / "logs/train/motion.vop.0.log"
    log.unlink(missing_ok=True)

    def edit():
        while not log.exists():
            time.sleep(0.05)
        tracked.edit("params.yaml", lambda text: text.replace("epochs: 5", "epochs: 2"))

    editor = threading.Thread(target=edit)
    editor.start()
    done = tracked.run("dvc", "repro", "train@motion-vop-0")
    editor.join()
    assert done.returncode != 0 and "params.yaml was edited while DVC ran" in " ".join((done.stdout + done.stderr).split())
    assert (tracked.folder / "dvc.lock").read_text() == before
    tracked.does("dvc repro train@motion-vop-0")
    assert json.loads((tracked.folder / f"{RUNS}/vop/0/train.json").read_text())["epochs"][-1]["epoch"] == 2


@pytest.mark.parametrize("inside", [False, True], ids=["elsewhere", "in another checkout"])
def test_jobs_run_the_code_of_the_snakefile_that_planned_them(tmp_path, finished, inside):
    """Whatever package the environment has, and whatever lies in the folder where they run."""
    for name in ("second", "folder"):
        (tmp_path / name).mkdir()
    second, folder = fresh(tmp_path / "second"), tmp_path / "folder"
    second.edit("pipeline/stages/checksums.py", lambda text: text + '\nprint("code of the second checkout")\n')
    if inside:
        fresh(folder)
    shutil.copy(finished.folder / "params.yaml", folder)
    shutil.copytree(finished.folder / "data/motion/raw", folder / "data/motion/raw")
    words = ["snakemake", "--snakefile", f"{second.folder}/Snakefile", "--directory", str(folder), "--cores", "1"]
    done = subprocess.run(
        [*words, "--", "data/motion/raw.sha256"], cwd=tmp_path, env=second.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "code of the second checkout" in (folder / "logs/checksums/motion.log").read_text()


@pytest.mark.parametrize(("links", "writable", "refused"), [(1, False, True), (2, False, False), (1, True, False), (2, True, False)])
def test_only_files_that_have_one_name_are_protected(tmp_path, links, writable, refused):
    class File(str):
        async def protected(self):
            return not writable

    protected.allow(File)
    file = tmp_path / "file"
    file.touch()
    if links == 2:
        os.link(file, tmp_path / "link")
    found = File(file).protected()
    with pytest.raises(StopIteration) as ended:
        found.send(None)
    assert ended.value.value is refused
