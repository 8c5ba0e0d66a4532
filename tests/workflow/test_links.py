"""Links to scratch, a checkout without git or with one that cannot be read, no home: it works, or one sentence says what to do."""

import shutil

import pytest

from tests.workflow.conftest import under_dvc

RECORD = ("python", "-m", "pipeline.stages.dvc", "record")
ADAPTER = "runs/motion/clip-tiny/vop/0/adapter.safetensors"
NO_SCM = "dvc config --local core.no_scm true"


def link(checkout, scratch, *names):
    """Move folders to scratch and leave links."""
    scratch.mkdir()
    for name in names:
        shutil.move(checkout.folder / name, scratch / name.replace("/", "-"))
        (checkout.folder / name).symlink_to(scratch / name.replace("/", "-"))
    return checkout


def said(done):
    """The output in one line; no traceback is in it."""
    output = " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in output, output
    return output


@pytest.fixture
def committed(checkout):
    under_dvc(checkout).does("git add --all && git commit -q -m start")
    return checkout


@pytest.mark.parametrize(
    "names", [("data", "work", "runs", "results", "logs", ".snakemake"), ("data/motion", "work/motion", "runs/motion")]
)
def test_links_to_scratch_are_ignored_by_git_and_snakemake_works_through_them(committed, tmp_path, names):
    # Of numbers behind a link git would say that they were deleted.
    committed.does(f"git rm -q -r --cached --ignore-unmatch {' '.join(names)} && git commit -q -m links")
    link(committed, tmp_path / "scratch", *names)
    assert "??" not in committed.does("git status --short")
    assert committed.planned() == {}
    committed.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {lr: 3.0e-3}}"))
    before = (committed.folder / ADAPTER).read_bytes()
    done = committed.snakemake("--", ADAPTER)
    assert done.returncode == 0, done.output
    assert (committed.folder / ADAPTER).read_bytes() != before and (committed.folder / names[0]).is_symlink()


def test_dvc_refuses_links_with_one_sentence_before_it_computes_and_works_through_them_when_told(committed, tmp_path):
    link(committed, tmp_path / "scratch", "data", "work", "runs")
    refused = committed.run(*RECORD)
    assert refused.returncode == 1 and "data, work, runs lead out of the checkout" in said(refused) and NO_SCM in said(refused)
    assert NO_SCM in said(committed.run("dvc", "repro", "-s", "selected"))
    committed.does(f"{NO_SCM} && snakemake --cores 1 -q -- metrics/selected.json")  # which DVC has deleted before it asked
    assert "has recorded" in committed.does(" ".join(RECORD))
    assert "Data and pipelines are up to date." in committed.does("dvc repro")
    assert committed.planned() == {}
    committed.edit("params.yaml", lambda text: text.replace("vop: {}", "vop: {train: {lr: 3.0e-3}}"))
    assert "Running stage 'train@motion-vop-0'" in committed.does("dvc repro train@motion-vop-0")
    committed.does(f"dvc remote add -q -d storage {tmp_path}/remote && dvc push -q")
    trained = (committed.folder / ADAPTER).read_bytes()
    committed.does(f"rm -rf .dvc/cache {ADAPTER} && dvc pull -q")
    assert (committed.folder / ADAPTER).read_bytes() == trained
    assert all((committed.folder / name).is_symlink() for name in ("data", "work", "runs"))


def test_record_without_git_is_one_sentence(committed):
    shutil.rmtree(committed.folder / ".git")
    refused = committed.run(*RECORD)
    assert refused.returncode == 1 and "not a git repository" in said(refused) and "or: git init" in said(refused)
    shutil.rmtree(committed.folder / ".dvc")
    refused = committed.run(*RECORD)
    assert refused.returncode == 1 and "clone it, or: git init" in said(refused)


def test_record_beside_another_dvc_is_one_sentence(committed):
    hold = "from dvc.repo import Repo, lock_repo; import subprocess, sys; repo = Repo(); held = lock_repo(repo); held.__enter__(); "
    hold += f"sys.exit(subprocess.run({list(RECORD)}).returncode)"
    refused = committed.run("python", "-c", hold)
    assert refused.returncode == 1 and "error: DVC: Unable to acquire lock" in said(refused)


NEW, DAMAGED = "rm -rf .git .dvc && git init -q", "echo x > .git/HEAD"


@pytest.mark.parametrize("start", ["rm -rf .git", "rm -rf .git .dvc", NEW, f"{NEW} && dvc init -q", DAMAGED])
def test_a_training_needs_no_commit(committed, start):
    committed.does(start)
    committed.does("rm -r runs/motion/clip-tiny/vop/0")
    done = committed.snakemake("--", ADAPTER)
    assert done.returncode == 0, said(done)
    assert '"commit": "unknown"' in (committed.folder / ADAPTER).with_name("train.json").read_text()
    assert ("git does not read" in said(done)) == (start == DAMAGED)


def test_a_checkout_of_another_user_says_what_to_type(committed, monkeypatch):
    for name, value in (("TEST_ASSUME_DIFFERENT_OWNER", "1"), ("CONFIG_GLOBAL", "/dev/null"), ("CONFIG_NOSYSTEM", "1")):
        monkeypatch.setenv(f"GIT_{name}", value)
    done = committed.snakemake("--force", "--", "metrics/selected.json")
    assert done.returncode == 0
    assert f"git config --global --add safe.directory {committed.folder}" in said(done)


def test_a_home_that_cannot_be_written_is_not_needed(checkout, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nohome")
    assert checkout.planned() == {}
    done = checkout.snakemake("--force", "--", "metrics/selected.json")
    assert done.returncode == 0, done.output
    assert not said(done).count("nohome")
