"""Locks of a killed Snakemake go by themselves; those of a living one stay, also where the file system has no locks."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.core import lease, locks
from pipeline.core.lease import Lease
from pipeline.core.stopped import Stopped
from tests.refusing import CODES, refusing

FORK = multiprocessing.get_context("fork")
HOLD = """
import sys, time
from pathlib import Path
from pipeline.core import locks

held = locks.enter(Path(sys.argv[1]), wait=False)
print(1, flush=True)
time.sleep(60)
"""
# Holds a lease as a process of another machine would: what it is called here means nothing there.
ELSEWHERE = """
import sys, time
from pathlib import Path
from pipeline.core import lease

lease._where = lambda: "another machine"
lease.BEAT = 0.05
held = lease.Lease(Path(sys.argv[1]))
assert held.take()
print(1, flush=True)
time.sleep(60)
"""
HERE = ELSEWHERE.replace('lease._where = lambda: "another machine"\n', "")


@pytest.fixture(autouse=True)
def _released(monkeypatch):
    """Leases of this process end with their test: one whose file is deleted later would end the process."""
    made, begin = [], Lease.__init__

    def noted(self, lock):
        made.append(self)
        begin(self, lock)

    monkeypatch.setattr(Lease, "__init__", noted)
    yield
    for one in made:
        one.release()


def stale(folder):
    (folder / "locks").mkdir(parents=True)
    (folder / "locks/0.input.lock").write_text("a\n")
    return folder / "locks"


def started(code, path, environment=None):
    """A process that holds it by now."""
    words = [sys.executable, "-c", code, str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert "1\n" in iter(process.stdout.readline, "")
    return process


def refuse(monkeypatch, code=errno.ENOSYS):
    """No locks for this process."""

    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "LOOK", 0.02)
    locks._told.clear()


def test_stale_locks_are_removed_and_the_folder_is_held(tmp_path):
    left = stale(tmp_path / ".snakemake")
    held = locks.enter(tmp_path / ".snakemake", wait=False)
    assert not left.exists()
    with (tmp_path / ".snakemake/petl-vtr.lock").open("a") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    held.release()


@pytest.mark.parametrize("code", [None, *CODES])
def test_locks_of_a_living_snakemake_stay_until_it_is_killed(tmp_path, capfd, monkeypatch, code):
    folder = tmp_path / ".snakemake"
    process = started(HOLD, folder, refusing(tmp_path, code) if code else None)
    if code:
        refuse(monkeypatch, getattr(errno, code))
    left = stale(folder)
    locks.enter(folder, wait=False).release()
    assert left.exists()
    killer = subprocess.Popen(["bash", "-c", f"sleep 2; kill -9 {process.pid}"])
    start = time.monotonic()
    locks.enter(folder, wait=True).release()
    assert time.monotonic() - start > 1
    assert not left.exists()
    said = "".join(capfd.readouterr())
    assert "another Snakemake is at work in" in said and f"petl-vtr.lock is held by process {process.pid} of " in said
    assert (f"{folder}/petl-vtr.lock: the file system has no locks" in said) == bool(code)
    killer.wait()
    process.communicate()


def test_two_snakemakes_in_a_folder_without_locks_are_both_known_to_a_third(tmp_path, monkeypatch):
    refuse(monkeypatch)
    folder = tmp_path / ".snakemake"
    first, second = locks.enter(folder, wait=False), locks.enter(folder, wait=False)
    first.release()
    left = stale(folder)
    third = locks.enter(folder, wait=False)
    assert left.exists(), "the second is at work"
    second.release()
    third.release()
    locks.enter(folder, wait=False).release()
    assert not left.exists()


@pytest.mark.parametrize("content", ["24208\nanother-node\n3668205600025781568996842563741841270760639589994388104314\n", "?"])
def test_what_a_program_of_another_kind_left_in_the_lock_is_taken_over(tmp_path, monkeypatch, capfd, content):
    refuse(monkeypatch)
    (tmp_path / ".lock").write_text(content)
    with locks.only_one(tmp_path / ".lock", told="another one is at work"):
        pass
    assert f"{tmp_path}/.lock is held by a process that left no name ({tmp_path}/.lock)\nanother one is" in capfd.readouterr().out
    assert (tmp_path / ".lock").read_text() == content, "it is of no more use, and whoever wrote it may still look at it"


def test_a_lease_of_a_process_that_died_here_is_free_at_once(tmp_path):
    process = started(HERE, tmp_path / ".lock")
    mine = Lease(tmp_path / ".lock")
    assert not mine.take() and f"process {process.pid} of" in mine.holder()
    process.kill()
    process.wait()
    assert mine.take()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock.2"]
    mine.release()


def test_a_process_that_was_killed_and_not_waited_for_holds_nothing(tmp_path):
    process = started(HERE, tmp_path / ".lock")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Lease(tmp_path / ".lock").take()
    process.communicate()


def test_another_process_of_the_same_number_holds_nothing(tmp_path):
    named = lease._self() | {"started": "1"}
    (tmp_path / ".lock.7").write_text(json.dumps(named))
    assert Lease(tmp_path / ".lock").take()


def test_a_lease_of_another_machine_is_taken_over_only_once_it_gave_no_sign_of_life(tmp_path):
    (tmp_path / ".lock.3").write_text(json.dumps({"host": "made-up", "pid": os.getpid(), "started": "1", "where": "another boot"}))
    mine = Lease(tmp_path / ".lock")
    assert not any(mine.take() for _ in range(lease.PATIENCE)) and mine.unsure
    assert mine.holder() == f"process {os.getpid()} of made-up ({tmp_path}/.lock.3)"
    os.utime(tmp_path / ".lock.3", (1, 1))  # a sign, whatever the clock says
    assert not any(mine.take() for _ in range(lease.PATIENCE)) and not mine.unsure
    assert mine.take()


def test_a_holder_that_lives_on_another_machine_is_waited_for(tmp_path):
    process = started(ELSEWHERE, tmp_path / ".lock")
    mine, end = Lease(tmp_path / ".lock"), time.monotonic() + 3
    while time.monotonic() < end:
        assert not mine.take()
        time.sleep(0.02)
    process.kill()
    process.wait()
    looks = 0
    while not mine.take():
        looks += 1
    assert looks >= lease.PATIENCE - 3


def test_a_holder_that_slept_for_too_long_ends_and_says_why(tmp_path):
    process = started(ELSEWHERE, tmp_path / ".lock")
    process.send_signal(signal.SIGSTOP)
    mine = Lease(tmp_path / ".lock")
    while not mine.take():
        time.sleep(0.01)
    process.send_signal(signal.SIGCONT)
    assert f"{tmp_path}/.lock.1 was taken over or deleted" in process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGTERM
    assert not Lease(tmp_path / ".lock").take()


def test_of_many_who_want_a_dead_lease_one_gets_it(tmp_path):
    for number in range(8):
        lock = tmp_path / f"{number}.lock"
        lock.with_name(f"{lock.name}.1").write_text(json.dumps(lease._self() | {"started": "1"}))
        barrier, found = FORK.Barrier(8), FORK.SimpleQueue()

        def want(lock=lock, barrier=barrier, found=found):
            mine = Lease(lock)
            barrier.wait()
            found.put(mine.take())
            barrier.wait()  # all hold on until all have looked

        children = [FORK.Process(target=want) for _ in range(8)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert sum(found.get() for _ in children) == 1


def test_who_looked_before_another_took_it_does_not_get_it(tmp_path):
    (tmp_path / ".lock.5").write_text(json.dumps(lease._self() | {"started": "1"}))
    late, first, second = (Lease(tmp_path / ".lock") for _ in range(3))
    seen = late._files()
    assert first.take()
    first.release()
    assert second.take()
    assert second.path == tmp_path / ".lock.7"
    assert not late._enter(seen, alone=True) and late.path is None
    assert [path.name for path in tmp_path.iterdir()] == [".lock.7"]


@pytest.mark.parametrize("code", [None, errno.ENOSYS, errno.ENOLCK, errno.EIO])
def test_no_wait_lasts_for_ever(tmp_path, monkeypatch, code):
    if code:
        refuse(monkeypatch, code)
    lock = tmp_path / "of a training/.lock"
    with locks.only_one(lock, told="a training is at work"):
        start = time.monotonic()
        with (
            pytest.raises(Stopped, match=rf"a training is at work for 0.3 s: .*/\.lock is held by process {os.getpid()} of .*start again"),
            locks.only_one(lock, told="a training is at work", limit=0.3),
        ):
            pass
        assert 0.3 <= time.monotonic() - start < 3
    with locks.only_one(lock, told="nobody is"):
        pass


def test_the_wait_for_another_snakemake_has_an_end(tmp_path):
    process = started(HOLD, tmp_path / ".snakemake")
    with pytest.raises(Stopped, match=rf"another Snakemake is at work in .* held by process {process.pid} of"):
        locks.enter(tmp_path / ".snakemake", wait=True, limit=0.2)
    process.kill()
    process.communicate()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as raised:
        locks.Lock(tmp_path / "file/.lock")
    assert raised.value.filename
    refuse(monkeypatch)
    monkeypatch.setattr(lease.Path, "glob", lambda *_: iter([]))
    (tmp_path / ".lock.1").mkdir()
    assert not locks.Lock(tmp_path / ".lock").take()
