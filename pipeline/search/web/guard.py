"""Guard before every request: who may ask, how long sending may take, and what each answer says to the browser."""

import asyncio
import json
import logging
import re
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.search.web.asked import Refused

# A page of another name that was made to point here would have that name as its host.
HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
SEND = 30.0  # seconds that a client may let one piece of an answer wait
HEADERS = {
    # A preview of the user's own file is a blob.
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
log = logging.getLogger(__name__)


class Json(Response):
    """An answer in JSON that no cache keeps. Pure ASCII: names of files may hold what UTF-8 cannot."""

    media_type = "application/json"

    def __init__(self, value: Any, status: int = 200) -> None:
        super().__init__(value, status, headers={"cache-control": "no-store"})

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


def refusal(status: int, sentence: str) -> Json:
    """An error as the page shows it."""
    return Json({"error": sentence}, status)


class Guard:
    """An ASGI application before another one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            async with asyncio.timeout(SEND):
                await send(message)

        try:
            refuse_strangers(scope)
            await self.app(scope, receive, answer)
        except Refused as refused:
            if not started:
                await refusal(refused.status, refused.sentence)(scope, receive, answer)
        except TimeoutError:
            pass  # uvicorn closes the connection of an answer that is not whole
        except Exception:
            log.exception("a request failed: %s %r", scope["method"], scope["path"][:200])


def refuse_strangers(scope: Scope) -> None:
    """Refused: a request under another name than this machine's, and one that the page of another site made."""
    fields = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = fields.get(b"host", "")
    if not HOSTS.fullmatch(host):
        raise Refused(421, "this server answers to 127.0.0.1 and localhost only")
    if fields.get(b"origin", f"http://{host}") != f"http://{host}":
        raise Refused(403, "the page of another site may not use this server")
    # A link to the page itself is no use of it.
    visit = scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and fields.get(b"sec-fetch-mode") == "navigate"
    if fields.get(b"sec-fetch-site", "none") not in ("none", "same-origin") and not visit:
        raise Refused(403, "the page of another site may not use this server")
