"""Listening on the loopback interface, and ending in good order."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from pipeline.search.web.app import build
from pipeline.search.web.connection import Connection
from pipeline.search.web.worker import Worker

HOST = "127.0.0.1"  # and no other: whoever reaches the page may watch the videos
HEAD = 16 * 2**10  # bytes of a request's head
ANSWERING = 64  # connections at once that get an answer; more are told 503
FAREWELL = 3  # seconds that open requests have when the server ends


def listen(port: int) -> socket.socket:
    """A socket on `port`, or on a free one for 0. ValueError if it is not to be had."""
    if not 0 <= port < 65536:
        raise ValueError(f"--port is a number from 0 (any free one) to 65535, not {port}")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        raise ValueError(f"port {port} of {HOST} cannot be had ({error.strerror}); choose another one with --port") from error
    return made


def address(listening: socket.socket) -> str:
    return f"http://{HOST}:{listening.getsockname()[1]}/"


class Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, worker: Worker, *, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                build(worker), loop="asyncio", http=Connection, ws="none", lifespan="off", log_config=None, log_level="critical",
                access_log=False, proxy_headers=False, server_header=False, limit_concurrency=ANSWERING, timeout_keep_alive=5,
                timeout_graceful_shutdown=FAREWELL, h11_max_incomplete_event_size=HEAD,
            )
        )  # fmt: skip
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(worker: Worker, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Until SIGINT or SIGTERM, which are no errors."""
    # uvicorn raises the signal again when it is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        Server(worker, ready=ready).run(sockets=[listening])
    finally:
        worker.close()
