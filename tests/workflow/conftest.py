"""A copy of the checkout in which the whole workflow has run once; tests take copies of that copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from tests.workflow import warm

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "dvc.yaml", ".gitignore", ".dvcignore", "pipeline", "profiles", "slurm", "envs", "docs", "recipes")


class Checkout:
    """A folder in which `snakemake` can be run. `warm`: its stages are forked (warm.py)."""

    def __init__(self, folder, *, warm=False):
        self.folder = Path(folder)
        self.warm = warm
        self.before = ()  # words before each command

    def environment(self):
        """Of a user who has activated the environment that runs the tests."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        if self.warm:
            path = f"{warm.started()}:{path}"
        own = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # of whoever runs the tests
        return {k: v for k, v in os.environ.items() if k not in own} | {"PATH": path, "DVC_NO_ANALYTICS": "1"}

    def run(self, *words):
        """Run a command as a user would, with this folder's own code first."""
        return subprocess.run([*self.before, *words], cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False)

    def does(self, command):
        """The output of a command line that must succeed."""
        done = self.run("bash", "-c", command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def snakemake(self, *words):
        done = self.run("snakemake", "--cores", "2", *words)
        done.output = done.stdout + done.stderr
        return done

    def planned(self, *words):
        """The jobs a dry run would start: rule -> number."""
        done = self.snakemake("-n", "-q", "reason", *words)
        assert done.returncode == 0, done.output
        rows = [line.split() for line in done.output.splitlines()]
        start = next((i for i, row in enumerate(rows) if row[:2] == ["job", "count"]), None)
        if start is None:
            assert "Nothing to be done" in done.output, done.output
            return {}
        table = {row[0]: int(row[1]) for row in rows[start + 2 :] if len(row) == 2 and row[0].isidentifier() and row[1].isdigit()}
        return {rule: number for rule, number in table.items() if rule not in ("total", "all")}

    def edit(self, path, change):
        file = self.folder / path
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")

    def copy(self, folder, *, warm=True):
        """With the old times, so that Snakemake sees the same files."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder, warm=warm)


def fresh(folder, *, warm=False):
    """The files of this repository and the tiny configuration, nothing else."""
    checkout = Checkout(folder, warm=warm)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, checkout.folder / part)
    for file in ROOT.glob("papers/*/published.csv"):  # not what was run beside them
        target = checkout.folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy2(file, target)
    shutil.copy(Path(__file__).with_name("params.yaml"), checkout.folder)
    return checkout


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """Makes a checkout by the first of the processes that share the tests; the others wait for it."""
    folder = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent

    def once(name, make):
        checkout = Checkout(folder / name)
        with filelock.FileLock(folder / f"{name}.lock"):
            if not (folder / f"{name}.done").exists():
                make(checkout.folder)
                (folder / f"{name}.done").touch()
        return checkout

    return once


@pytest.fixture(scope="session")
def finished(shared):
    def make(folder):
        folder.mkdir()
        done = fresh(folder, warm=True).snakemake()
        assert done.returncode == 0, done.output

    return shared("workflow", make)


GIT = "git config user.email test@example.org && git config user.name test"


def under_dvc(checkout):
    checkout.does(f"git init -q && {GIT} && dvc init -q && cp -r {ROOT}/.dvc/config {ROOT}/.dvc/page.html {ROOT}/.dvc/plots .dvc")
    return checkout


def said_of(checkout):
    """Where what was said is kept, when a shared checkout was made by a command."""
    return Path(f"{checkout.folder}.said.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def from_nothing(shared):
    """Another clean run, of two methods and by `dvc repro`: of what DVC starts, and whether all bytes are the same again."""

    def make(folder):
        folder.mkdir()
        checkout = under_dvc(fresh(folder))
        checkout.edit("params.yaml", lambda text: text.replace("[zero_shot, full_finetune, vop, mv_adapter]", "[full_finetune, vop]"))
        checkout.edit("params.yaml", lambda text: text.replace("method: mv_adapter", "method: vop"))
        checkout.does("git add --all && git commit -q -m start")
        # Without GIT_DIR, which DVC does not look at, adapters would name a commit, and those of the other run name none.
        said = checkout.does("GIT_DIR=/dev/null dvc repro")
        Path(f"{folder}.said.txt").write_text(said, encoding="utf-8")

    return shared("from-nothing", make)


@pytest.fixture
def checkout(finished, tmp_path):
    return finished.copy(tmp_path / "copy")
