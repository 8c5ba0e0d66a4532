"""One search at a time, and beside it one of a file, which takes longer: two threads, with a short queue before them."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.search.index import Gallery
from pipeline.search.session import Session
from pipeline.search.web.asked import Refused

QUEUE = 16  # searches that are done or wait
SECONDS = 120.0  # that a search, with its wait, may take
REFRESH = 1.0  # seconds between two looks at the files of the indexes
Result = TypeVar("Result")


class Worker:
    """Gives work on the session to a thread. `galleries` are those of the last refresh, and may be read from any thread.

    `first`: the run whose indexes come before the others.
    """

    def __init__(self, session: Session, *, first: str = "") -> None:
        self._session, self._first = session, first
        self._searches = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._files = ThreadPoolExecutor(1, thread_name_prefix="file")
        self._places = QUEUE
        self._seen = -REFRESH
        self.galleries: Mapping[str, Gallery] = {}
        self._refresh()

    async def do(self, work: Callable[[Session], Result], *, after: Callable[[], None] | None = None) -> Result:
        """The result of `work` on the session. Work with a file says what comes `after` it, even if it never starts: the file goes.

        Refused: a full queue, work that takes too long, and what `work` says by a ValueError.
        """
        if self._places < 1:
            if after is not None:
                after()
            raise Refused(503, f"{QUEUE} searches are waiting already; try again in a moment")
        loop = asyncio.get_running_loop()
        self._places -= 1

        def over(_: "Future[Result]") -> None:
            if after is not None:
                after()
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(self._leave)

        future = (self._searches if after is None else self._files).submit(self._with_session, work)
        future.add_done_callback(over)
        try:
            async with asyncio.timeout(SECONDS):
                return await asyncio.wrap_future(future)
        except ValueError as error:
            raise Refused(400, " ".join(str(error).split())) from error
        except TimeoutError as error:
            raise Refused(503, f"this takes more than {SECONDS:g} seconds; try again, or with a shorter video") from error

    def close(self) -> None:
        """End the threads: waiting work is dropped, running work ends first."""
        for thread in (self._searches, self._files):
            thread.shutdown(cancel_futures=True)

    def _leave(self) -> None:
        self._places += 1

    def _with_session(self, work: Callable[[Session], Result]) -> Result:
        if time.monotonic() - self._seen >= REFRESH:
            self._refresh()
        return work(self._session)

    def _refresh(self) -> None:
        self._session.refresh()
        galleries = [self._session.gallery(name) for name in self._session.names]
        self.galleries = {gallery.name: gallery for gallery in sorted(galleries, key=lambda gallery: gallery.about["run"] != self._first)}
        self._seen = time.monotonic()
