"""Batches in order, from worker processes or not; what a fetch raises is raised where its batch is due. No reader is waited for forever."""

import faulthandler
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pipeline.core.stopped import Stopped
from pipeline.rules import resources
from pipeline.runtime import loader
from pipeline.runtime.loader import Stream

CPU = torch.device("cpu")


class Fetched(NamedTuple):
    rows: torch.Tensor
    more: torch.Tensor | None


def fetch(rows):
    if 7 in rows:
        raise ValueError("row 7 is damaged")
    return Fetched(torch.from_numpy(rows), None)


@pytest.mark.parametrize("workers", [0, 1, 2, -1])
def test_batches_come_in_the_order_asked_for(workers):
    wanted = [np.array([3, 1]), np.array([2]), np.array([9, 8, 0]), *(np.array([row]) for row in range(10, 30))]
    stream = Stream(fetch, iter(wanted), device=CPU, workers=workers)
    found = list(stream)
    assert [batch.rows.tolist() for batch in found] == [rows.tolist() for rows in wanted]
    assert all(batch.more is None for batch in found)
    assert stream.waited > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_one_sentence_and_comes_after_the_batches_before_it(workers):
    batches = iter(Stream(fetch, [np.array([1]), np.array([2]), np.array([7]), np.array([3])], device=CPU, workers=workers))
    assert [next(batches).rows.item() for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="^row 7 is damaged$"):
        next(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_draws_no_random_number_of_ours(workers):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    list(Stream(fetch, [np.array([1])], device=CPU, workers=workers))
    assert torch.rand(1) == expected


LARGE = 58_000_000  # bytes of a batch


def large(rows):
    """A batch of which each row is another."""
    values = np.arange(LARGE // 4, dtype=np.int32) * int(rows[0] + 1)
    return Fetched(torch.from_numpy(values), torch.tensor([True, False]))


def digest(workers, numbers=6):
    found = hashlib.sha256()
    for batch in Stream(large, [np.array([row]) for row in range(numbers)], device=CPU, workers=workers):
        assert batch.rows.dtype == torch.int32 and batch.more.tolist() == [True, False]
        found.update(batch.rows.numpy().data)
    return found.hexdigest()


SHM = """
import os
from tests.runtime.test_loader import digest
print(digest(2), digest(0), os.statvfs("/dev/shm").f_bfree)
"""


@pytest.mark.parametrize("options", ["size=64k", "size=64m", "size=64m,ro", "size=4k"])
def test_large_batches_need_no_shared_memory(options):
    mount = ["unshare", "-rm", "bash", "-c", f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"', "bash"]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces, and so no /dev/shm of one's own")
    done = subprocess.run([*mount, sys.executable, "-c", SHM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ahead, here, _ = done.stdout.split()
    assert ahead == here


class Many(NamedTuple):
    half: torch.Tensor
    brain: torch.Tensor
    none: torch.Tensor | None
    empty: torch.Tensor
    number: torch.Tensor
    turned: torch.Tensor


def many(rows):
    generator = torch.Generator().manual_seed(int(rows[0]))
    values = torch.randn(3, 5, generator=generator)
    return Many(values.half(), values.bfloat16(), None, torch.empty(0, 4), torch.tensor(rows[0]), values.T)


@pytest.mark.parametrize("workers", [0, 2])
def test_tensors_of_all_types_and_shapes_arrive_to_the_bit(workers):
    for row, found in enumerate(Stream(many, [np.array([row]) for row in range(5)], device=CPU, workers=workers)):
        assert type(found) is Many and found.none is None
        for got, wanted in zip(found, many([row]), strict=True):
            assert wanted is None or (got.dtype == wanted.dtype and torch.equal(got, wanted))


def fails(rows):
    """From row 3 on a reader dies, hangs, or is wrong."""
    faulthandler.disable()  # pytest's would print where it died
    if rows[0] == 3:
        os.kill(os.getpid(), signal.SIGBUS)  # as for memory that a full /dev/shm does not have
    if rows[0] == 4:
        os.kill(os.getpid(), signal.SIGSTOP)
    if rows[0] == 5:
        raise AttributeError("a mistake in the program")
    return fetch(rows)


def taken(stream):
    found = []
    with pytest.raises((Stopped, RuntimeError)) as raised:
        found.extend(int(batch.rows) for batch in stream)
    return found, raised.value


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (3, Stopped, r"process \d+, which works ahead of this one, was ended by SIGBUS; see whether .* start the same command again$"),
        (4, Stopped, r"process \d+, which works ahead of this one, gave nothing for 1 s; .* start the same command again$"),
        (5, RuntimeError, "AttributeError: a mistake in the program"),
    ],
)
def test_a_reader_that_dies_or_hangs_is_one_sentence_after_the_batches_before_it(workers, last, kind, words):
    start = time.monotonic()
    found, error = taken(Stream(fails, [np.array([row]) for row in (0, 1, last, 2)], device=CPU, workers=workers, limit=1))
    assert found == [0, 1] and type(error) is kind and re.search(words, str(error))
    assert time.monotonic() - start < 10


def who(rows):
    return Fetched(torch.tensor([os.getpid(), *rows]), None)


def readers(workers):
    """A stream of nine batches that say who made them."""
    return iter(Stream(who, [np.array([row]) for row in range(9)], device=CPU, workers=workers))


def pids(stream):
    return {int(next(stream).rows[0]) for _ in range(4)}


def test_a_reader_killed_while_it_waits_is_told_at_its_next_batch():
    stream = readers(1)
    os.kill(pids(stream).pop(), signal.SIGKILL)
    with pytest.raises(Stopped, match="was ended by SIGKILL"):
        list(stream)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


ALONE = """
from tests.runtime.test_loader import pids, readers
first, second = readers(2), readers(2)
print(*pids(first), *pids(second), flush=True)
input()
"""


def test_no_reader_outlives_the_stream_or_its_process():
    stream = readers(2)
    found = pids(stream)
    assert len(found) == 2 and all(map(alive, found))
    stream.close()
    assert not any(map(alive, found))
    process = subprocess.Popen([sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = {int(pid) for pid in process.stdout.readline().split()}
    assert len(found) == 4
    process.kill()
    process.communicate()
    end = time.monotonic() + 10
    while any(map(alive, found)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, found))


def test_a_signal_to_all_processes_of_a_job_ends_no_reader():
    stream = readers(2)
    for pid in pids(stream):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(pid, number)
    assert len(list(stream)) == 5


def test_batches_for_a_gpu_are_pinned_on_that_gpu_as_they_arrive(monkeypatch):
    devices, pinned = [], []
    monkeypatch.setattr(torch.cuda, "set_device", devices.append)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    for workers in (-1, 0):
        stream = Stream(fetch, [np.array([row]) for row in range(3)], device=torch.device("cuda:1"), workers=workers, move=False)
        assert [int(batch.rows) for batch in stream] == [0, 1, 2]
    assert devices == [torch.device("cuda:1")] * 6 and len(pinned) == 6


@pytest.mark.parametrize(("cores", "processes", "found"), [(2, 1, 1), (4, 1, 3), (16, 1, 6), (128, 8, 6), (16, 4, 3), (8, 8, 1)])
def test_a_gpu_has_readers_for_its_share_of_the_cores(cores, processes, found, monkeypatch):
    monkeypatch.setattr(loader.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loader.ahead() == found


def test_a_job_asks_a_cluster_for_the_cores_of_its_readers():
    assert resources.cpus(1, -1, gpu=1) == 1 + loader.READERS
