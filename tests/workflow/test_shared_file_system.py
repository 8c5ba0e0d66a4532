"""Stages where the file system has no locks, and where /dev/shm is too small for anything."""

import errno
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.refusing import refusing

RUN = "runs/motion/clip-tiny/mv_adapter/0"
# What filelock left where flock was missing, on a node that died since.
LEFT = "24208\nanother-node\n3668205600025781568996842563741841270760639589994388104314\n"


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory):
    """The finished checkout, with real processes, and what its stages write goes elsewhere."""
    return finished.copy(tmp_path_factory.mktemp("no locks") / "copy", warm=False)


def command(place, rule, target, to, *words):
    """The command of a rule's job, with its outputs in the folder `to`."""
    said = place.does(f"snakemake -n -p --forcerun {rule} {' '.join(words)} -- {target}")
    (found,) = re.findall(rf"python -m pipeline\.stages\.{rule} .*?(?= 2>&1 \| tee)", said)
    (place.folder / to).mkdir()
    # What is read stays where it is.
    return re.sub(rf"(--(?:adapter|record|curves|metrics|embeddings) ){re.escape(RUN)}/", rf"\1{to}/", found)


def done(place, line, environment=None):
    own = place.environment() | {k: v for k, v in (environment or {}).items() if k == "LD_PRELOAD"}
    return subprocess.run(["bash", "-c", line], cwd=place.folder, env=own, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("code", ["ENOSYS", "ENOLCK"])
def test_a_training_goes_on_after_its_node_died_where_flock_is_refused(place, tmp_path, code):
    to = f"train {code}".replace(" ", "-")
    line = command(place, "train", f"{RUN}/adapter.safetensors", to)
    (place.folder / to / ".train.lock").write_text(LEFT)
    found = done(place, line, refusing(tmp_path, code))
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{to}/.train.lock: the file system has no locks ({os.strerror(getattr(errno, code))}); files beside it" in found.stderr
    assert f"{to}/.train.lock is held by a process that left no name" in found.stdout and "waiting for its end" in found.stdout
    made, there = (place.folder / folder / "adapter.safetensors" for folder in (to, RUN))
    assert made.stat().st_size == there.stat().st_size


def test_a_training_killed_with_its_machine_is_taken_over(place, tmp_path):
    """Its lease tells nothing to another machine but that nobody touches it any more."""
    to = "killed"
    line, environment = command(place, "train", f"{RUN}/adapter.safetensors", to), refusing(tmp_path, "ENOSYS")
    own = place.environment() | {"LD_PRELOAD": environment["LD_PRELOAD"]}
    first = subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=place.folder, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    lease = place.folder / to / ".train.lock.1"
    while not lease.exists() or not lease.read_text():
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    lease.write_text(re.sub(r'"(host|where)": "[^"]*"', r'"\1": "another"', lease.read_text()))
    found = done(place, line, environment)
    assert found.returncode == 0 and f"of another ({to}/.train.lock.1)" in found.stdout, found.stdout + found.stderr


def test_scores_are_the_same_bytes_where_locks_are_refused(place, tmp_path):
    line = command(place, "score", f"{RUN}/metrics.json", "score").replace("--embeddings score/", f"--embeddings {RUN}/")
    found = done(place, line, refusing(tmp_path, "ENOLCK"))
    assert found.returncode == 0, found.stdout + found.stderr
    assert (place.folder / "score/metrics.json").read_bytes() == (place.folder / RUN / "metrics.json").read_bytes()


@pytest.mark.parametrize("options", ["size=64k", "size=64m,ro"])
def test_a_training_needs_no_shared_memory(place, options):
    mount = f"mount -t tmpfs -o {options} tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "bash", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces, and so no /dev/shm of one's own")
    to = options.translate(str.maketrans("=,", "--"))
    line = command(place, "train", f"{RUN}/adapter.safetensors", to, "--config", "'machine={workers: 2}'")
    assert "--workers 2" in line
    found = done(place, f"unshare -rm bash -c '{mount}; {line.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'")
    assert found.returncode == 0, found.stdout + found.stderr
    made, there = ((place.folder / folder / "adapter.safetensors").read_bytes() for folder in (to, RUN))
    assert made[-10_000:] == there[-10_000:], "the tensors are the same"


def test_a_training_whose_readers_are_killed_ends_with_a_sentence_and_the_code_that_retries(place):
    line = command(place, "train", f"{RUN}/adapter.safetensors", "readers", "--config", "'machine={workers: 2}'")
    words = ["bash", "-c", f"exec {line}"]
    process = subprocess.Popen(words, cwd=place.folder, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(found := children.read_text().split()) < 2:
        time.sleep(0.001)
    for pid in found:
        os.kill(int(pid), signal.SIGKILL)
    said = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert re.fullmatch(r"process \d+, which works ahead of this one, was ended by SIGKILL; .*\n", said[1]), said[1]


def test_snakemake_works_in_a_folder_without_locks_and_removes_stale_ones(place, tmp_path):
    left = place.folder / ".snakemake/locks"
    left.mkdir(exist_ok=True)
    (left / "0.output.lock").write_text(f"{RUN}/metrics.json\n")
    found = done(place, f"snakemake --cores 1 --force -- {RUN}/metrics.json", refusing(tmp_path, "ENOLCK"))
    assert found.returncode == 0, found.stdout + found.stderr
    assert ".snakemake/petl-vtr.lock: the file system has no locks" in found.stderr
    assert (place.folder / RUN / "metrics.json").exists() and not list(left.glob("*.lock"))
