"""Clips and their frames, by the name of an index and a row, and by nothing else."""

import re
from pathlib import Path

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from pipeline.search.index import Gallery
from pipeline.search.web.asked import Asked, Refused
from pipeline.search.web.pictures import Pictures
from pipeline.search.web.worker import Worker

DECODERS, WAITING = 2, 64  # pictures that are made, and that wait for it, at once
FOREVER = {"cache-control": "private, max-age=86400, immutable"}  # the address names the content


class Media:
    """The endpoints. They read the galleries that `worker` saw last, so they never wait for a search."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.pictures = worker, Pictures()
        self._decoders = CapacityLimiter(DECODERS)

    async def clip(self, request: Request) -> Response:
        """The canonical clip of a video, whole or the range that is asked for."""
        path, _ = self._clip(Asked(request.scope["query_string"], needed=("index", "row", "sha256")))
        headers = [(name, value) for name, value in request.scope["headers"] if name != b"range" or _is_range(value)]
        request.scope["headers"] = headers
        try:
            return FileResponse(path, media_type="video/mp4", headers=FOREVER, stat_result=path.stat())
        except OSError as error:
            raise Refused(404, "the clip of this video is gone; make the index again") from error

    async def frame(self, request: Request) -> Response:
        """The frame of a clip at a time, as JPEG."""
        asked = Asked(request.scope["query_string"], needed=("index", "row", "sha256", "at"))
        seconds = asked.seconds("at")
        path, sha256 = self._clip(asked)
        if self._decoders.statistics().tasks_waiting >= WAITING:
            raise Refused(503, "too many pictures are asked for at once; try again in a moment")
        try:
            made = await run_sync(lambda: self.pictures.jpeg(path, sha256=sha256, seconds=seconds), limiter=self._decoders)
        except (ValueError, OSError) as error:
            raise Refused(404, "the clip of this video is gone or damaged; make the index again") from error
        return Response(made, media_type="image/jpeg", headers=FOREVER)

    def _clip(self, asked: Asked) -> tuple[Path, str]:
        """The clip of a row, and its hash. Refused if the row holds another video by now."""
        (name,), (sha256,) = asked.exact("index"), asked.exact("sha256")
        gallery: Gallery | None = self.worker.galleries.get(name)
        if gallery is None:
            raise Refused(404, f"there is no index {name!r}")
        row = asked.number("row", most=999_999_999)
        if row >= len(gallery.videos) or gallery.videos["clip_sha256"].iloc[row] != sha256:
            raise Refused(404, "the index was made anew and has another video here; search again")
        try:
            return gallery.clip(row), sha256
        except ValueError as error:
            raise Refused(404, " ".join(str(error).split())) from error


def _is_range(value: bytes) -> bool:
    """Whether it is one plain range. Any other header of that name is passed over, as if it were not there."""
    found = re.fullmatch(rb"bytes=([0-9]{0,15})-([0-9]{0,15})", value)
    if not found or not any(found.groups()):
        return False
    return not all(found.groups()) or int(found[1]) <= int(found[2])
