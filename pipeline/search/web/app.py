"""The addresses of the page: what each takes and gives."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipeline.search.index import Hit
from pipeline.search.session import MAX_QUERY, Session
from pipeline.search.web import answers
from pipeline.search.web.answers import Answer
from pipeline.search.web.asked import Asked, K, Refused
from pipeline.search.web.guard import Guard, Json, refusal
from pipeline.search.web.media import Media
from pipeline.search.web.upload import BYTES, Uploads, forget
from pipeline.search.web.worker import Worker

STATIC = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DEFAULT_K = 12
Endpoint = Callable[[Request], Awaitable[Response]]
SIDES = 2  # indexes that one file is searched in


class Page:
    """The endpoints. Everything that touches the session is done by `worker`."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.uploads = worker, Uploads()

    async def indexes(self, request: Request) -> Response:
        """All indexes, and those that another backbone made, with the reason."""
        Asked(request.scope["query_string"])
        found = await self.worker.do(
            lambda session: {
                "indexes": [answers.index(gallery) for gallery in self.worker.galleries.values()],
                "other": [{"name": name, "reason": reason} for name, reason in session.other.items()],
            }
        )
        return Json(found | {"limits": {"query": MAX_QUERY, "k": K, "bytes": BYTES}})

    async def search(self, request: Request) -> Response:
        """Videos for a sentence."""
        asked = Asked(request.scope["query_string"], needed=("index", "q"), free=("k",))
        (name,), query, k = asked.exact("index"), asked.text("q", most=MAX_QUERY), _k(asked)
        if not query:
            raise Refused(400, "type what the video shows")
        return await self._searched(name, lambda session: session.text(name, query, k))

    async def like(self, request: Request) -> Response:
        """Videos like a video of the gallery."""
        asked = Asked(request.scope["query_string"], needed=("index", "video"), free=("k",))
        (name,), (video_id,), k = asked.exact("index"), asked.exact("video"), _k(asked)
        return await self._searched(name, lambda session: session.video(name, answers.row_of(session.gallery(name), video_id), k), video_id)

    async def captions(self, request: Request) -> Response:
        """Captions for a video of the gallery."""
        asked = Asked(request.scope["query_string"], needed=("index", "video"), free=("k",))
        (name,), (video_id,), k = asked.exact("index"), asked.exact("video"), _k(asked)

        def work(session: Session) -> Answer:
            gallery = answers.opened(session, name)
            row = answers.row_of(gallery, video_id)
            return answers.captions(gallery, session.captions(name, row, k)) | {"of": answers.video(gallery, row)}

        return Json(await self._timed(work))

    async def probe(self, request: Request) -> Response:
        """The score of a video for a sentence, forwards and backwards."""
        asked = Asked(request.scope["query_string"], needed=("index", "video", "q"))
        (name,), (video_id,), query = asked.exact("index"), asked.exact("video"), asked.text("q", most=MAX_QUERY)
        if not query:
            raise Refused(400, "type a sentence with a direction, such as “moves up”")
        return Json(await self._timed(lambda session: answers.probe(session, name, video_id, query)))

    async def file_videos(self, request: Request) -> Response:
        """Videos like one that comes with the request."""
        return await self._file(request, lambda session, name, file, k: answers.videos(session.gallery(name), session.file(name, file, k)))

    async def file_captions(self, request: Request) -> Response:
        """Captions for a video that comes with the request."""
        return await self._file(
            request, lambda session, name, file, k: answers.captions(session.gallery(name), session.captions(name, file, k))
        )

    async def _file(self, request: Request, find: Callable[[Session, str, Path, int], Answer]) -> Response:
        asked = Asked(request.scope["query_string"], needed=("index",), free=("k",), many=("index",))
        names, k = asked.exact("index"), _k(asked)
        if len(names) > SIDES:
            raise Refused(400, f"a file is searched in at most {SIDES} indexes at once")
        file = await self.uploads.take(request)

        def work(session: Session) -> Answer:
            for name in names:
                answers.opened(session, name)
            try:
                return {"sides": [find(session, name, file, k) for name in names]}
            except ValueError as error:
                raise Refused(400, answers.without(file, " ".join(str(error).split()))) from error

        return Json(await self._timed(work, after=lambda: forget(file)))

    async def _searched(self, name: str, find: Callable[[Session], list[Hit]], video_id: str | None = None) -> Response:
        def work(session: Session) -> Answer:
            gallery = answers.opened(session, name)
            of = {} if video_id is None else {"of": answers.video(gallery, answers.row_of(gallery, video_id))}
            return answers.videos(gallery, find(session)) | of

        return Json(await self._timed(work))

    async def _timed(self, work: Callable[[Session], Answer], *, after: Callable[[], None] | None = None) -> Answer:
        """With how long the search itself took."""

        def timed(session: Session) -> Answer:
            begin = time.perf_counter()
            return work(session) | {"seconds": time.perf_counter() - begin}

        return await self.worker.do(timed, after=after)


def build(worker: Worker) -> ASGIApp:
    """The application, guarded."""
    page, media = Page(worker), Media(worker)
    read = {
        "/api/indexes": page.indexes,
        "/api/search": page.search,
        "/api/like": page.like,
        "/api/captions": page.captions,
        "/api/probe": page.probe,
        "/clip": media.clip,
        "/frame": media.frame,
    }
    sent = {"/api/file/videos": page.file_videos, "/api/file/captions": page.file_captions}
    routes = [Route(path, endpoint) for path, endpoint in (*read.items(), *_static().items())]
    routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in sent.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _missed, Refused: _refused, Exception: _failed})
    app.router.redirect_slashes = False
    return Guard(app)


def _static() -> dict[str, Endpoint]:
    """The few files of the page, read once: no address is ever made into a path."""
    found = {path.name: path for path in STATIC.iterdir() if path.suffix in KINDS}
    return {"/" if name == "index.html" else f"/static/{name}": _whole(path) for name, path in found.items()}


def _whole(path: Path) -> Endpoint:
    content = path.read_bytes()

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=KINDS[path.suffix], headers={"cache-control": "no-cache"})

    return endpoint


async def _missed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "there is nothing at this address", 405: "this address does not take that method"}
    return refusal(error.status_code, sentences.get(error.status_code, error.detail))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error.status, error.sentence)


async def _failed(_: Request, __: Exception) -> Response:
    """Starlette raises the error again when this is sent, and the guard logs it."""
    return refusal(500, "the server made a mistake, which its terminal shows; please report it")


def _k(asked: Asked) -> int:
    return asked.number("k", least=1, most=K, default=DEFAULT_K)
