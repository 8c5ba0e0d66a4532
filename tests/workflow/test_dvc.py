"""DVC and Snakemake in one checkout: neither makes again what the other has made, and neither keeps what belongs to something else."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time

import pytest
from dvc.api import DVCFileSystem
from safetensors import safe_open

from pipeline.adapters import checkpoint
from tests import pages
from tests.workflow.conftest import GIT, Checkout, said_of, under_dvc

PAGE = pages.commands("dvc.md")
RUNS = "runs/motion/clip-tiny"
ADAPTER = f"{RUNS}/vop/0/adapter.safetensors"
UP_TO_DATE = "Data and pipelines are up to date."
# Two are enough for what DVC does, and each has 400 lines in the lock file, which DVC reads after every stage.
METHODS = ("mv_adapter", "vop")
RATE = ("vop: {}", "vop: {train: {lr: 3.0e-3}}")
OF_VOP = {"train@motion-vop-0", "embed@motion-vop-0", "evaluate@motion-vop"}


@pytest.fixture(scope="session")
def cloned(shared, finished):
    """A fresh clone that has pulled what DVC has taken over from Snakemake: the whole way of the page, by its own commands."""

    def make(folder):
        checkout = under_dvc(finished.copy(folder.with_name("recorded")))
        checkout.edit("params.yaml", lambda text: text.replace("[zero_shot, full_finetune, vop, mv_adapter]", "[vop, mv_adapter]"))
        checkout.does(f"rm -r {RUNS}/zero_shot {RUNS}/full_finetune metrics/motion/zero_shot.json metrics/motion/full_finetune.json")
        assert checkout.snakemake().returncode == 0
        assert "has recorded" in checkout.does("python -m pipeline.stages.dvc record")
        assert UP_TO_DATE in checkout.does("dvc repro") and checkout.planned() == {}
        places = {"/mnt/storage/petl": f"{folder}.storage", "<this checkout>": ".", "../other": str(folder)}
        assert "Snakemake has taken over" in typed(checkout, *PAGE["Remotes"], **places)
        Checkout(folder).does(GIT)

    return shared("cloned", make)


@pytest.fixture
def tracked(cloned, tmp_path):
    """With hard links into its cache, as `cloned` has them."""
    checkout = Checkout(tmp_path / "tracked", warm=True)
    cloned.does(f"cp -a . {checkout.folder}")
    return checkout


def typed(checkout, *commands, **places):
    """The output of commands of the page, typed one after the other in one shell, with names of a machine for those of the page."""
    for name, place in places.items():
        commands = [command.replace(name, place) for command in commands]
    return checkout.does("\n".join(["set -e", *commands]))


def stale(checkout):
    """The stages that DVC itself would start; those that only wait for them are not among them."""
    return set(json.loads(checkout.run("dvc", "status", "--json").stdout))


def ran(output):
    """The stages that `dvc repro` has started, and those that it found in its cache."""
    return set(re.findall(r"^Running stage '(.+)':", output, flags=re.MULTILINE)), set(re.findall(r"^Stage '(.+)' is cached", output, re.M))


def sha256(checkout, path):
    return hashlib.sha256((checkout.folder / path).read_bytes()).hexdigest()


def test_a_recorded_run_is_up_to_date_and_a_change_touches_the_same_in_both_tools(tracked):
    start = time.monotonic()
    assert UP_TO_DATE in tracked.does("dvc repro")
    assert time.monotonic() - start < 60, "ten seconds are meant, on a machine that does nothing else"
    assert tracked.planned() == {}
    tracked.edit("params.yaml", lambda text: text.replace(*RATE))
    assert stale(tracked) == {"train@motion-vop-0", "embed@motion-vop-0", "evaluate@motion-vop"}
    assert tracked.planned() == {"train": 1, "embed": 1, "score": 1, "evaluate": 1, "report": 1}
    tracked.does("git checkout -q params.yaml")
    edited = ("tail = (1 - confidence) / 2", "tail = (1.0 - confidence) / 2")
    tracked.edit("pipeline/evaluation/metrics.py", lambda text: text.replace(*edited))
    assert stale(tracked) == {f"evaluate@motion-{method}" for method in METHODS} | {"report@motion"}
    assert tracked.planned() == {"score": 2, "evaluate": 2, "report": 1, "selected": 1}


def test_metrics_are_one_row_a_method_and_adapters_are_in_the_cache_not_in_git(tracked):
    rows = [line.split() for line in tracked.does("dvc metrics show").splitlines()]
    assert sorted(row[0] for row in rows) == ["Path", *(f"metrics/motion/{method}.json" for method in METHODS), "metrics/selected.json"]
    wanted = {"RSum", "probe", "seeds", "gallery", "queries", "gallery_hash", "missing_hash", "dataset", "method", "backbone", "scored"}
    assert wanted | {"t2v.R1", "v2t.R10", "t2v.MdR", "cost.trainable", "cost.checkpoint_bytes"} <= set(rows[0])
    files = tracked.does("git ls-files").splitlines()
    assert {f"{RUNS}/vop/0/{name}.json" for name in ("metrics", "cost", "train")} <= set(files)
    assert not [path for path in files if path.endswith((".safetensors", ".h5", ".mp4"))]


def test_what_is_cached_is_there_once_and_a_rule_that_writes_it_again_leaves_the_cache_alone(tracked):
    adapter = tracked.folder / ADAPTER
    stored = [path for path in (tracked.folder / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    assert adapter.stat().st_ino in {path.stat().st_ino for path in stored}, "a hard link"
    assert not adapter.stat().st_mode & 0o222
    clips = {path.stat().st_ino for path in (tracked.folder / "data/motion/clips").rglob("*.mp4")}
    assert len(clips) > 40 and clips <= {path.stat().st_ino for path in stored}
    tracked.edit("params.yaml", lambda text: text.replace(*RATE))
    before = sha256(tracked, ADAPTER)
    assert tracked.snakemake("--forcerun", "transcode", "train", "--", ADAPTER, "data/motion/clips/000").returncode == 0
    assert sha256(tracked, ADAPTER) != before
    for path in stored:
        name = f"{path.parent.name}{path.name}".removesuffix(".dir")
        assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == name


def test_every_command_of_the_page_is_typed_by_a_test():
    assert set(PAGE) == {"Compare methods", "A sweep", "Remotes", "Pushing", "Adapters travel", "Where a number comes from"}


def test_what_does_not_belong_to_the_revision_is_not_adopted_and_what_is_not_made_is_not_recorded(tracked):
    tracked.edit("params.yaml", lambda text: text.replace(*RATE))
    adopted = tracked.run("python", "-m", "pipeline.stages.dvc", "adopt")
    assert adopted.returncode == 1
    assert "train@motion-vop-0" in adopted.stderr and "is not what dvc.lock says" in adopted.stderr
    taken = tracked.run("python", "-m", "pipeline.stages.dvc", "record")
    assert taken.returncode == 1 and "error: Snakemake has something to do here" in taken.stderr


def test_from_nothing_dvc_trains_all_methods_in_one_snakemake(from_nothing):
    started, found = ran(said_of(from_nothing))
    firsts = {f"{name}@motion-full_finetune{seed}" for name, seed in (("train", "-0"), ("embed", "-0"), ("evaluate", ""))}
    assert started == {"backbone", "raw@motion", "clips@motion", "report@motion", "selected"} | firsts
    assert len(found) == 3
    assert from_nothing.planned() == {}
    assert UP_TO_DATE in from_nothing.does("dvc repro")


def test_in_a_clone_a_change_runs_one_method_which_goes_on_after_an_interruption_and_is_taken_back(tracked, finished):
    """First Ctrl-C, then a power cut in what goes on from it: everything that DVC has started gets the signal."""
    assert sha256(tracked, ADAPTER) == sha256(finished, ADAPTER)
    old = json.loads((tracked.folder / "metrics/motion/vop.json").read_text())
    tracked.warm = False
    tracked.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {epochs: 24}}"))
    assert tracked.planned() == {"train": 1, "embed": 1, "score": 1, "evaluate": 1, "report": 1}
    log = tracked.folder / "logs/train/motion.vop.0.log"
    for number, epoch in ((signal.SIGINT, 3), (signal.SIGKILL, 8)):
        log.unlink(missing_ok=True)
        with (tracked.folder / "repro.log").open("w") as out:
            options = {"cwd": tracked.folder, "env": tracked.environment(), "stdout": out, "stderr": out, "start_new_session": True}
            # A shell in the background starts processes that ignore Ctrl-C; a terminal does not.
            process = subprocess.Popen(["dvc", "repro"], **options, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            for _ in range(1800):
                if log.exists() and f"epoch {epoch}:" in log.read_text():
                    break
                assert process.poll() is None, (tracked.folder / "repro.log").read_text()
                time.sleep(0.1)
            os.killpg(process.pid, number)
            process.wait(timeout=60)
        assert not (tracked.folder / ADAPTER).exists()
        assert list((tracked.folder / RUNS / "vop/0").glob("state-*.pt"))
    tracked.warm = True  # nothing disturbs the rest
    assert ran(tracked.does("dvc repro")) == (OF_VOP | {"report@motion", "selected"}, set())
    assert json.loads((tracked.folder / RUNS / "vop/0/train.json").read_text())["epochs"][-1]["epoch"] == 24
    assert 0 < log.read_text().count("\nepoch ") < 20, "it went on from its state"
    assert tracked.planned() == {} and UP_TO_DATE in tracked.does("dvc repro")
    assert sha256(tracked, ADAPTER) != sha256(finished, ADAPTER)
    change = json.loads(tracked.does("dvc metrics diff --json HEAD --targets metrics/motion/vop.json metrics/motion/mv_adapter.json"))
    assert set(change) == {"metrics/motion/vop.json"}
    tracked.does("git commit -q -a -m longer")

    tracked.does("git checkout -q HEAD~1 && dvc checkout -q && python -m pipeline.stages.dvc adopt")
    assert sha256(tracked, ADAPTER) == sha256(finished, ADAPTER)
    assert json.loads((tracked.folder / "metrics/motion/vop.json").read_text()) == old
    assert UP_TO_DATE in tracked.does("dvc repro")
    assert tracked.planned() == {}


def test_the_session_of_the_page_compares_two_methods(tracked):
    said = {command: typed(tracked, command) for command in PAGE["Compare methods"]}
    both = {m: json.loads((tracked.folder / f"metrics/motion/{m}.json").read_text()) for m in ("vop", "mv_adapter")}
    diff = json.loads(tracked.run("dvc", "metrics", "diff", "vop", "mv_adapter", "--json").stdout)
    for key, way in (("R1", "t2v"), ("R5", "v2t")):
        one, other = both["vop"][way][key], both["mv_adapter"][way][key]
        values = diff["metrics/selected.json"].get(f"{way}.{key}", {"old": one, "new": one})
        assert (values["old"], values["new"]) == (one, other)
    assert set(diff) == {"metrics/selected.json"}
    ours = " ".join(said)
    shown = ("dvc metrics show", "compare vop mv_adapter", "dvc metrics diff", "dvc params diff", "dvc plots diff", "dvc exp show")
    assert all(word in ours for word in shown)
    for command, output in said.items():
        if "dvc exp run" in command:
            assert ran(output)[0] <= {"selected"}, "clips, backbone and trainings are used again"
    wrong = tracked.run("dvc", "exp", "run", "-S", "method=nope")
    assert wrong.returncode != 0 and "params.yaml: method is 'nope'; run.methods has" in " ".join((wrong.stdout + wrong.stderr).split())


def test_a_queue_of_rates_trains_one_method_only(tracked):
    sweep(tracked, PAGE["A sweep"])


def sweep(tracked, commands, **places):
    """Each experiment of the queue has a folder of its own, so that no two Snakemakes meet."""
    # The default params.yaml has the key; here it has the value that it had without.
    tracked.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {lr: 1.0e-2}}"))
    tracked.does("git commit -q -a -m key")
    typed(tracked, *commands, **places)
    for _ in range(80):
        if "Running" not in (listed := tracked.does("dvc queue status")) and "Queued" not in listed:
            break
        time.sleep(8)  # what is asked takes seconds of a core from those that are asked for
    assert listed.count("Success") == 2, listed + tracked.does(
        "dvc queue status; dvc queue logs $(dvc queue status | awk 'NR==2{print $1}')"
    )
    rows = json.loads(tracked.does("dvc exp show --json"))
    found = [e["revs"][0]["data"] for row in rows for e in row["experiments"] or []]
    assert {e["params"]["params.yaml"]["data"]["methods"]["vop"]["train"]["lr"] for e in found} == {0.003, 0.03}
    kept = json.loads((tracked.folder / "metrics/motion/mv_adapter.json").read_text())
    assert all(e["metrics"]["metrics/motion/mv_adapter.json"]["data"] == kept for e in found), "other methods are not trained again"
    assert len({e["metrics"]["metrics/motion/vop.json"]["data"]["scored"] for e in found}) == 2
    assert tracked.planned() == {}, "the checkout itself is as it was"


def test_one_adapter_comes_out_of_another_revision(tracked, tmp_path):
    first = tracked.does("git rev-parse HEAD").strip()
    tracked.does("git commit -q --allow-empty -m later")
    typed(tracked, f"cd {tmp_path}", *PAGE["Adapters travel"], **{"<repository>": str(tracked.folder), "<commit>": first})
    assert (tmp_path / "vop.safetensors").read_bytes() == (tracked.folder / ADAPTER).read_bytes()
    assert checkpoint.read_header(tmp_path / "vop.safetensors")["run"] == "vop"
    store = DVCFileSystem(str(tracked.folder), rev=first)
    store.get_file(ADAPTER, str(tmp_path / "again.safetensors"))
    with safe_open(str(tmp_path / "again.safetensors"), framework="pt") as file:
        assert len(list(file.keys())) > 0


def test_data_that_may_not_be_passed_on_goes_to_a_private_remote_only(tracked, tmp_path):
    setting, remote = PAGE["Pushing"]
    tracked.edit("params.yaml", lambda text: text.replace('remotes: {data: ""}', setting))
    typed(tracked, f"dvc remote add -q -d open {tmp_path}/open", remote, **{"ssh://lab/only-us": f"{tmp_path}/closed"})
    tracked.does("dvc push -q -r open")
    tracked.does("dvc push -q")
    sent = {name: {p.read_bytes() for p in (tmp_path / name / "files/md5").rglob("*") if p.is_file()} for name in ("open", "closed")}
    clips = {path.read_bytes() for path in (tracked.folder / "data/motion/clips").rglob("*.mp4")}
    texts = {(tracked.folder / f"work/motion/{split}/captions.parquet").read_bytes() for split in ("train", "val", "test")}
    pictures = (tracked.folder / "results/motion/report.html").read_bytes()
    assert not sent["open"] & (clips | texts | {pictures}) and clips | texts | {pictures} <= sent["closed"]
    assert (tracked.folder / ADAPTER).read_bytes() in sent["open"]
    tracked.edit("params.yaml", lambda text: text.replace("[motion]", "[lsmdc]").replace("\ndatasets:", "\ndatasets:\n  lsmdc: {}"))
    reason = "`dvc push` would send clips and captions of LSMDC there, whose licence is: gated"
    assert reason not in " ".join(tracked.snakemake("-n").output.split())
    tracked.edit("params.yaml", lambda text: text.replace("data: private", "data: open"))
    for command in (["dvc", "repro", "raw@lsmdc"], ["python", "-m", "pipeline.stages.dvc", "record"]):
        refused = tracked.run(*command)
        assert refused.returncode != 0
        assert f"remotes.data is 'open', and {reason}" in " ".join((refused.stdout + refused.stderr).split()), command
    assert reason not in " ".join(tracked.snakemake("-n").output.split()), "without DVC nothing is pushed"


def test_a_number_is_followed_back_and_an_edited_one_is_found(tracked):
    assert f"{RUNS}/vop/0" in typed(tracked, *PAGE["Where a number comes from"])
    followed = tracked.does("python -m pipeline.stages.provenance results/motion")
    assert all(f"{RUNS}/{method}/0" in followed for method in METHODS)
    path = tracked.folder / RUNS / "vop/0/metrics.json"
    path.write_text(re.sub(r'"R1": [0-9.]+', '"R1": 97.1429', path.read_text(), count=1))
    found = tracked.run("python", "-m", "pipeline.stages.provenance", "metrics/motion/vop.json")
    assert found.returncode == 1 and "score again" in found.stdout + found.stderr
