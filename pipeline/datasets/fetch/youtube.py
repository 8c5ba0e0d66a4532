"""The video of a web page, YouTube's or another's, by yt-dlp."""

import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import YoutubeDLError

from pipeline.core.files import FULL
from pipeline.datasets.fetch import access
from pipeline.datasets.fetch.content import check_kind
from pipeline.datasets.fetch.http import shown
from pipeline.datasets.fetch.reasons import meaning

SILENT = logging.Logger("yt-dlp", level=logging.CRITICAL + 1)
PROTOCOLS = "[protocol~='^(https?|m3u8_native|http_dash_segments)$']"


def fetch_page_video(url: str, folder: Path, *, name: str, height: int = 480) -> Path:
    """Download the one video that the page `url` shows; its path `folder`/`name`.<ext>, where it is whole or not at all.

    `height`: pixels; the tallest format up to it, else what there is. Raises Gone if the video is not to be had, Unreachable if
    it may be later, ValueError for a wrong page, address, name or variable of `access`, and OSError for the disk.
    """
    address = shown(url)
    if not name or name.startswith(".") or re.search(r"[/\\\0]", name):
        raise ValueError(f"a video from {address} cannot be named {name!r}; a name has no slash and does not begin with a dot")
    folder.mkdir(parents=True, exist_ok=True)
    # Never continued by a later call: yt-dlp would not notice that it is another format now.
    with tempfile.TemporaryDirectory(prefix=".video.", suffix=".part", dir=folder.resolve()) as part:
        try:
            with yt_dlp.YoutubeDL(_options(part, height) | access.options(Path(part))) as site:
                found = site.extract_info(url)
        except YoutubeDLError as error:
            raise _meaning(error, name=name) from None
        if not (found or {}).get("requested_downloads"):
            raise ValueError(f"{name}: {address} is no page of one finished video; give the address of the video itself")
        made = Path(found["requested_downloads"][0]["filepath"])
        check_kind(made, "video", saying=f"{name}: {address} sent")
        return made.replace(folder / f"{name}{made.suffix}")


def _options(part: str, height: int) -> dict[str, Any]:
    """For yt-dlp, which reads no configuration when it is called as a library."""
    choices = (f"bv*[height<={height}][ext=mp4]", f"bv*[height<={height}]", f"b[height<={height}]", "b")
    return {
        "format": "/".join(choice + PROTOCOLS for choice in choices),
        "paths": {"home": part},
        "outtmpl": "video.%(ext)s",
        "noplaylist": True,
        "playlist_items": "1",
        "match_filter": _unfit,
        "logger": SILENT,
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "cachedir": False,
        "updatetime": False,
        "retries": 5,
        "fragment_retries": 5,
        "extractor_retries": 3,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause),
        "skip_unavailable_fragments": False,
        "socket_timeout": 30,
        # No program repairs or downloads anything: what is there to find is an empty folder.
        "fixup": "never",
        "external_downloader": "native",
        "ffmpeg_location": part,
    }


def _pause(n: int) -> float:
    """Seconds to wait after `n` failures; yt-dlp calls it by that name."""
    return float(min(2**n, 60))


def _unfit(video: dict[str, Any], **_: Any) -> str | None:
    """yt-dlp's question why not to download `video`."""
    return "not one finished video" if video.get("is_live") or video.get("playlist") else None


def _meaning(error: YoutubeDLError, *, name: str) -> Exception:
    """The error to raise for a video, worded as yt-dlp's first line without the queries of its addresses."""
    line = " ".join(str(error).strip().partition("\n")[0].split()).removeprefix("ERROR: ")
    line = re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", line)[:300].rstrip(". ")
    number = re.search(r"\[Errno (\d+)\]", line)
    if number and int(number[1]) in FULL:
        return OSError(int(number[1]), f"{os.strerror(int(number[1]))} while fetching {name}; make room and re-run")
    return meaning(line, name=name, network=_is_network(error))


def _is_network(error: BaseException | None) -> bool:
    """Whether the first cause, which yt-dlp keeps in places of its own, is the network."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        given = getattr(error, "exc_info", None) or (None, None)
        error = getattr(error, "cause", None) or given[1] or error.__cause__
    return any(isinstance(cause, TransportError) for cause in seen)
