"""Processes of a team on this machine, for benchmarks and tests, as torchrun starts them: one thread each."""

import multiprocessing
import os
import queue
import time
from collections.abc import Callable
from typing import Any

import torch

from pipeline.runtime.device import choose
from pipeline.runtime.distributed import Team, join, leave


def together(work: Callable[[Team], Any], *, size: int, device: str = "cpu", limit: float = 3600) -> list[Any]:
    """Results of `work`, which can be pickled, from each process of a team; each chooses its `device` as a training does.

    An AssertionError has the errors of those that failed, or says that some gave nothing within `limit` seconds.
    """
    # Forks of a process that has imported and nothing else: torch and open_clip take seconds, in each process again.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.training.loop"])
    results = context.Queue()
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    port = store.port
    del store
    processes = [context.Process(target=_process, args=(rank, size, port, results, work, device)) for rank in range(size)]
    for process in processes:
        process.start()
    found, end = dict[int, Any](), time.monotonic() + limit
    try:
        while len(found) < size:
            found |= [results.get(timeout=max(0.0, end - time.monotonic()))]
    except BaseException as error:
        for process in processes:
            process.kill()  # else this one would wait for them when it ends
        if isinstance(error, queue.Empty):
            silent = f"{size - len(found)} of {size} processes gave nothing for {limit:.0f} s: they wait for each other"
            raise AssertionError(f"{silent}; others gave {found}") from None
        raise
    for process in processes:
        process.join(timeout=300)
    assert [p.exitcode for p in processes] == [0] * size, found
    return [found[rank] for rank in range(size)]


def _process(rank: int, size: int, port: int, results: Any, work: Callable[[Team], Any], device: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        results.put((rank, work(join(choose(device)))))
    except BaseException as error:
        results.put((rank, error))
        raise
    finally:
        leave()
