"""Connections that do not wait for ever: what uvicorn leaves open is closed."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 10.0  # seconds from the first byte (or the connection) to the end of a request's head
CONNECTIONS = 256  # at once; more are closed unread


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 with a limit on the time in which no request is being answered."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Also in the middle of a request, whose answer nobody waits for any more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Half of a next request, or the rest of a body that nobody reads, came along with the last one.
        if self.conn.trailing_data[0]:
            self._watch()

    def _watch(self) -> None:
        """The clock runs on while a head is not complete, however often a byte of it comes."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD, self._late)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self.transport.abort()  # close() would wait for a client that does not read
