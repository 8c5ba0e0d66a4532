"""A video file that comes with a request: written to a folder of its own, which goes when the search is over."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from pipeline.search.web.asked import Refused

BYTES = 200 * 2**20  # of a file
SECONDS = 120.0  # for the whole of it
AT_ONCE = 2  # files on their way
KIND = "application/octet-stream"  # a form of another site cannot send it unasked
NAME = "your file"  # what errors call it


class Uploads:
    """Takes in a few files at a time."""

    def __init__(self) -> None:
        self._places = AT_ONCE

    async def take(self, request: Request) -> Path:
        """The file of a request in a folder that the caller removes (`forget`).

        Refused: a body of another kind, an empty, large or slow one, and one more than `AT_ONCE`.
        """
        _refuse_unfit(request)
        if self._places < 1:
            raise Refused(503, "other videos are on their way already; try again in a moment")
        self._places -= 1
        folder = Path(tempfile.mkdtemp(prefix="petl-vtr-query-"))
        try:
            await _write(request, folder / NAME)
        except BaseException:
            shutil.rmtree(folder)
            raise
        finally:
            self._places += 1
        return folder / NAME


def forget(file: Path) -> None:
    """Remove what `take` made."""
    shutil.rmtree(file.parent, ignore_errors=True)


def _refuse_unfit(request: Request) -> None:
    if request.headers.get("content-type", "") != KIND:
        raise Refused(415, f"a video is sent as it is, as {KIND}")
    announced = request.headers.get("content-length", "0")
    if len(announced) > 18 or int(announced) > BYTES:
        raise _large()


async def _write(request: Request, target: Path) -> None:
    size = 0
    try:
        with target.open("wb") as file:
            async with asyncio.timeout(SECONDS):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > BYTES:
                        raise _large()
                    file.write(chunk)
    except TimeoutError as error:
        raise Refused(408, f"the video did not arrive within {SECONDS:g} seconds") from error
    except ClientDisconnect as error:
        raise Refused(400, "the video did not arrive whole") from error
    if not size:
        raise Refused(400, "the file is empty; choose a video")


def _large() -> Refused:
    return Refused(413, f"a video of at most {BYTES // 2**20} MB is taken; cut it, or put it into a gallery")
