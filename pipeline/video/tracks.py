"""Which of the video streams of a file a player shows."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.video.formats import picture, still

STILLS = ("mjpeg", "png", "bmp", "webp", "tiff", "gif")  # codecs of pictures that stand alone
FEW = 5  # times fewer of them than another stream has pictures: previews that nothing marks as such
# Covers, previews for the bar of a player, and tiles or layers that make a picture with another stream only.
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent


def candidates(container: InputContainer, path: Path) -> list[VideoStream]:
    """The streams that may be the film, in the order of the file. ValueError if there is none that can be decoded."""
    films = [stream for stream in container.streams.video if not stream.disposition & NO_FILM]
    if not films and picture(path):  # of tiles, as phones store photos
        raise still(path)
    if not films:
        raise ValueError(f"{path.name} holds no video stream")
    # PyAV has no codec context for a stream that FFmpeg has no decoder for.
    decoded = [stream for stream in films if _has_decoder(stream)]
    if not decoded:
        raise ValueError(f"{path.name} holds a video stream of a codec that cannot be decoded")
    return decoded


def _has_decoder(stream: VideoStream) -> bool:
    context: Any = stream.codec_context
    return context is not None


def shown(streams: Sequence[VideoStream], numbers: Iterable[int]) -> int:
    """The place in `streams` of the one that a player shows, of `numbers` of pictures each.

    A film comes before a still or previews, a default stream before others, the larger picture before the smaller, then the first.
    """
    counts = list(numbers)

    def preference(place: int) -> tuple[int, bool, int, int]:
        stream, number = streams[place], counts[place]
        still = stream.codec_context.codec.canonical_name in STILLS and number * FEW <= max(counts)
        return min(number, 1 if still else 2), bool(stream.disposition & Disposition.default), stream.width * stream.height, -place

    return max(range(len(counts)), key=preference)


def told(container: InputContainer, stream: VideoStream) -> str:
    """Where `stream` stands among the video streams of its file, from 1: "2 of 3"; "" if it is the only one."""
    every = container.streams.video
    return f"{every.index(stream) + 1} of {len(every)}" if len(every) > 1 else ""
