"""Locks of a killed Snakemake go by themselves; those of a living one stay."""

import fcntl
import subprocess
import sys
import time

import pytest

from pipeline.core import locks

HOLD = """
import sys, time
from pathlib import Path
from pipeline.core import locks

held = locks.enter(Path(sys.argv[1]), wait=False)
print(1, flush=True)
time.sleep(60)
"""


def stale(folder):
    (folder / "locks").mkdir(parents=True)
    (folder / "locks/0.input.lock").write_text("a\n")
    return folder / "locks"


def test_stale_locks_are_removed_and_the_folder_is_held(tmp_path):
    left = stale(tmp_path / ".snakemake")
    held = locks.enter(tmp_path / ".snakemake", wait=False)
    assert not left.exists()
    with (tmp_path / ".snakemake/petl-vtr.lock").open("a") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    held.close()


def test_locks_of_a_living_snakemake_stay_until_it_is_killed(tmp_path, capfd):
    folder = tmp_path / ".snakemake"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1\n"
    left = stale(folder)
    locks.enter(folder, wait=False).close()
    assert left.exists()
    killer = subprocess.Popen(["bash", "-c", f"sleep 2; kill -9 {process.pid}"])
    start = time.monotonic()
    locks.enter(folder, wait=True).close()
    assert time.monotonic() - start > 1
    assert not left.exists()
    assert "another Snakemake is at work in" in capfd.readouterr().out
    killer.wait()
    process.wait()
