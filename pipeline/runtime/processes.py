"""Work of forked processes, in the order it was asked for.

Results come through sockets and not through shared memory, so nothing here needs /dev/shm: a container has 64 MB of it, and what does not
fit kills a process. No wait lasts for ever: after a process that died or hangs, the same command goes on.
"""

import itertools
import os
import pickle
import queue
import signal
import socket
import struct
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from pipeline.core.stopped import Stopped

Item = TypeVar("Item")
Made = TypeVar("Made")
AHEAD = 2  # results that each process makes before they are due
LIMIT = 600.0  # seconds that one result is waited for
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # meant for the process that waits, which ends the others


def in_order(
    make: Callable[[Item], Made], wanted: Iterable[Item], *, workers: int, land: Callable[[Made], Any] | None = None, limit: float = LIMIT
) -> Generator[Any]:
    """`make(item)` for each of `wanted`, made ahead by so many `workers`, or here and now by none; then `land` of it, in a thread.

    What `make` raises is raised once its result is due. Stopped for a worker that died, or a result that took `limit` seconds.
    """
    arrive = land or (lambda made: made)
    if not workers:
        yield from (arrive(make(item)) for item in wanted)
        return
    crew: list[_Worker] = []
    turns, ready = queue.SimpleQueue[_Worker | None](), queue.SimpleQueue[Any]()
    try:
        for _ in range(workers):
            crew.append(_Worker(make, crew))
        threading.Thread(target=_read, args=(turns, ready, arrive), daemon=True).start()
        due = _asked(crew, wanted, turns)
        waiting = list(itertools.islice(due, workers * AHEAD))
        while waiting:
            worker = waiting.pop(0)
            result = _next(ready, worker, limit)
            waiting.extend(itertools.islice(due, 1))
            yield result
    finally:
        turns.put(None)
        for worker in crew:
            worker.end()


class _Worker:
    """A fork of this process that makes what it is asked for. It ends when this process does, whose end of the socket is gone then."""

    def __init__(self, make: Callable[[Any], Any], crew: list["_Worker"]) -> None:
        self.socket, theirs = socket.socketpair()
        self._status: int | None = None
        self.pid = os.fork()
        if not self.pid:
            for other in (*crew, self):
                other.socket.close()
            _work(make, theirs)
        theirs.close()

    def how_it_ended(self) -> str:
        """The words for the end of a process whose socket is closed."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        code = os.waitstatus_to_exitcode(self._status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def end(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._status = os.waitpid(self.pid, 0)[1]
        self.socket.close()


def _work(make: Callable[[Any], Any], asks: socket.socket) -> None:
    """The life of a worker."""
    try:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        while True:
            item = _receive(asks)
            try:
                answer = (True, make(item))
            except (ValueError, OSError) as error:
                answer = (False, error)
            except Exception:
                answer = (False, RuntimeError(traceback.format_exc()))
            _send(asks, answer)
    finally:
        os._exit(0)


def _asked(crew: list[_Worker], wanted: Iterable[Any], turns: "queue.SimpleQueue[_Worker | None]") -> Iterator[_Worker]:
    """The worker that was asked for each of `wanted`, one after the other."""
    for worker, item in zip(itertools.cycle(crew), wanted, strict=False):
        with suppress(OSError):  # it is gone, which is told when its result is due
            _send(worker.socket, item)
        turns.put(worker)
        yield worker


def _read(turns: "queue.SimpleQueue[_Worker | None]", ready: "queue.SimpleQueue[Any]", land: Callable[[Any], Any]) -> None:
    """The thread that takes results off the sockets while others compute. None is a worker that is gone."""
    while worker := turns.get():
        try:
            fine, answer = _receive(worker.socket)
        except (EOFError, OSError):
            ready.put(None)
            return
        try:
            ready.put((fine, land(answer) if fine else answer))
        except Exception as error:
            ready.put((False, error))


def _next(ready: "queue.SimpleQueue[Any]", worker: _Worker, limit: float) -> Any:
    try:
        found = ready.get(timeout=limit)
    except queue.Empty:
        words = f"gave nothing for {limit:g} s; see whether the disk that it reads answers"
        raise Stopped(f"process {worker.pid}, which works ahead of this one, {words}, and start the same command again") from None
    if found is None:
        words = f"{worker.how_it_ended()}; see whether the memory is enough"
        raise Stopped(f"process {worker.pid}, which works ahead of this one, {words}, and start the same command again")
    fine, answer = found
    if not fine:
        raise answer
    return answer


def _send(to: socket.socket, value: Any) -> None:
    """The arrays in `value` go as they are, after all else."""
    arrays: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(rest), *(array.raw() for array in arrays)]
    to.sendall(struct.pack(f"<{1 + len(parts)}Q", len(parts), *(len(part) for part in parts)))
    for part in parts:
        to.sendall(part)


def _receive(source: socket.socket) -> Any:
    """A message from the other end of the socket: that is this program, so it is unpickled. EOFError if it is gone."""
    (number,) = struct.unpack("<Q", _exactly(source, 8))
    rest, *arrays = (_exactly(source, size) for size in struct.unpack(f"<{number}Q", _exactly(source, 8 * number)))
    return pickle.loads(rest, buffers=arrays)


def _exactly(source: socket.socket, size: int) -> memoryview:
    found = np.empty(size, np.uint8).data  # not filled with zeros first
    left = found
    while len(left):
        got = source.recv_into(left)
        if not got:
            raise EOFError
        left = left[got:]
    return found
