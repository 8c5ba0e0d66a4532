"""Facts of a video file, read from its packets and never believed from its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError

from pipeline.video import length, packets, tracks
from pipeline.video.formats import CONTAINERS, PROTOCOLS, picture, still
from pipeline.video.interlaced import Fields
from pipeline.video.tags import Tags

# Those whose index of keyframes leads a reader to the same pictures as reading from the beginning does.
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True)
class Probe:
    """The video stream that a player would show."""

    codec: str
    width: int  # pixels as stored, before the rotation
    height: int
    sar: str  # shape of a pixel, "1:1" if square, "" if the file does not say
    rotation: int  # degrees counter-clockwise to turn the picture by
    fps_avg: float | None  # frames a second over the whole stream
    fps_r: float | None  # the rate that all timestamps are multiples of
    n_frames: int  # packets that hold a picture
    duration: float  # seconds: the stream's, else the file's, but at least `length`; 0 if nothing says it
    length: float  # seconds from the first packet to the end of the last one
    tick: float  # seconds between two times that the file can tell apart
    origin: float | None  # seconds on the file's clock when its first picture is shown; None if one cannot jump to a time of that clock
    late: float  # seconds on a player's clock, which starts with the earliest stream, when the first picture is shown
    has_audio: bool
    pix_fmt: str
    video_index: int  # position among the file's video streams: k in 0:v:k
    track: str  # the same from 1, where there are several: "2 of 3", else ""
    fields: Fields
    colours: tuple[Tags, ...] = ()  # the different colour tags of its pictures, the first picture's first


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container in `path`, open for reading. ValueError if that is no video file."""
    if not path.is_file():
        raise ValueError(f"there is no file {path.name}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty")
    whitelists = {"protocol_whitelist": PROTOCOLS, "format_whitelist": CONTAINERS}
    try:
        # "file:", so that a name like "http:a.mp4" stays a name.
        # Titles are not read, and not all of them are UTF-8.
        container = av.open(f"file:{path}", options=whitelists, metadata_errors="replace")
    except ArgumentError as error:
        if picture(path):
            raise still(path) from error
        raise ValueError(f"{path.name} is not a readable video file: its container is not one that is taken, or it is damaged") from error
    except FFmpegError as error:
        raise ValueError(f"{path.name} is not a readable video file: {error.strerror}") from error
    with container:
        yield container


def probe(path: Path) -> Probe:
    """Look at the video stream of `path` that a player would show.

    All packets are read, so that a header's count of frames is never believed; a few frames are decoded.
    Raises ValueError if `path` is empty, no video file, has no video stream, or an encrypted one.
    """
    with opened(path) as container:
        streams = tracks.candidates(container, path)
        read = packets.read(container, streams)
        place = tracks.shown(streams, [found.number for found in read])
        stream, found = streams[place], read[place]
        if found.encrypted:
            raise ValueError(f"{path.name} is encrypted, and cannot be decoded without its key")
        return Probe(
            codec=str(stream.codec_context.codec.canonical_name),
            width=found.width,
            height=found.height,
            sar=_ratio(stream.sample_aspect_ratio),
            rotation=found.rotation,
            fps_avg=_rate(stream.average_rate),
            fps_r=_rate(stream.base_rate),
            n_frames=found.number,
            duration=length.seconds(container, stream, found),
            length=found.seconds,
            tick=float(stream.time_base or 0),
            origin=found.origin if container.format.name in SEEKABLE else None,
            late=_late(container, found.origin),
            has_audio=bool(container.streams.audio),
            pix_fmt=stream.pix_fmt or "",
            video_index=container.streams.video.index(stream),
            track=tracks.told(container, stream),
            fields=found.fields,
            colours=found.colours,
        )


def _late(container: InputContainer, first: float | None) -> float:
    """How long a player waits for the picture at `first` of the file's clock."""
    if first is None or container.start_time is None:  # of a raw stream, whose clock starts with its first picture
        return 0.0
    # What a file holds before time 0 is the run-up of its sound, which is not played.
    return round(max(first - max(container.start_time / av.time_base, 0.0), 0.0), 6)


def _ratio(value: Fraction | None) -> str:
    return f"{value.numerator}:{value.denominator}" if value else ""


def _rate(value: Fraction | None) -> float | None:
    return float(value) if value else None
