"""Facts of a video file, read from its packets and never believed from its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.video.formats import CONTAINERS, PROTOCOLS, picture, still
from pipeline.video.tags import Tags, Watch

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
        container = av.open(f"file:{path}", options=whitelists)
    except ArgumentError as error:
        if picture(path):
            raise still(path) from error
        raise ValueError(f"{path.name} is not a readable video file: its container is not one that is taken, or it is damaged") from error
    except FFmpegError as error:
        raise ValueError(f"{path.name} is not a readable video file: {error.strerror}") from error
    with container:
        yield container


def probe(path: Path) -> Probe:
    """Look at the first video stream of `path` that is not a cover picture.

    All packets are read, so that a header's count of frames is never believed; one frame is decoded for its rotation, and up to two a
    second for their colours.
    Raises ValueError if `path` is empty, no video file, or has no video stream.
    """
    with opened(path) as container:
        index, stream = _picture_stream(container, path)
        packets = _Packets.of(container, stream)
        return Probe(
            codec=_codec(stream, path),
            width=stream.width,
            height=stream.height,
            sar=_ratio(stream.sample_aspect_ratio),
            rotation=packets.rotation,
            fps_avg=_rate(stream.average_rate),
            fps_r=_rate(stream.base_rate),
            n_frames=packets.number,
            duration=max(_promised(container, stream, packets.origin), packets.seconds),
            length=packets.seconds,
            tick=float(stream.time_base or 0),
            origin=packets.origin if container.format.name in SEEKABLE else None,
            late=_late(container, packets.origin),
            has_audio=bool(container.streams.audio),
            pix_fmt=stream.pix_fmt or "",
            video_index=index,
            colours=packets.colours,
        )


def _picture_stream(container: InputContainer, path: Path) -> tuple[int, VideoStream]:
    for index, stream in enumerate(container.streams.video):
        if not stream.disposition & Disposition.attached_pic:
            return index, stream
    raise ValueError(f"{path.name} holds no video stream")


def _codec(stream: VideoStream, path: Path) -> str:
    # PyAV has no codec context for a stream that FFmpeg has no decoder for.
    context: Any = stream.codec_context
    if context is None:
        raise ValueError(f"{path.name} holds a video stream of a codec that cannot be decoded")
    return str(context.codec.canonical_name)


@dataclass(frozen=True)
class _Packets:
    number: int
    seconds: float
    rotation: int
    origin: float | None
    colours: tuple[Tags, ...]

    @staticmethod
    def of(container: InputContainer, stream: VideoStream) -> "_Packets":
        number, first = 0, None
        times: list[int] = []
        lengths, watch = 0, Watch(stream)
        try:
            for packet in _demuxed(container, stream):
                # Packets that are not shown, or the empty one at the end, may be what the first picture waits for.
                if first:
                    watch.look(packet)
                elif first := _first(stream, packet):
                    watch.first(first)
                if packet.size == 0 or packet.is_discard:
                    continue
                number, lengths = number + 1, lengths + (packet.duration or 0)
                if packet.pts is not None:
                    times += [packet.pts, packet.pts + (packet.duration or 0)]
        except FFmpegError:
            # A broken tail: what comes before it is counted here, and the strict pass of the transcoder reports it.
            pass
        seconds = float((max(times) - min(times) if times else lengths) * (stream.time_base or 0))
        rotation, origin = (first.rotation, first.time) if first else (0, None)
        return _Packets(number=number, seconds=seconds, rotation=rotation, origin=origin, colours=tuple(watch.seen))


def _demuxed(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    """The packets of a stream, also where others begin midway, which the library has no place for."""
    going = True
    while going:
        going = False
        try:
            yield from container.demux(stream)
        except IndexError:
            going = True


def _first(stream: VideoStream, packet: Any) -> VideoFrame | None:
    """The first picture that `packet` completes; None if the decoder gives none yet."""
    try:
        return next(iter(stream.decode(packet)), None)
    except FFmpegError:
        return None


def _promised(container: InputContainer, stream: VideoStream, origin: float | None) -> float:
    """The duration in seconds that the header states; 0 if it states none."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    start = (container.start_time or 0) / av.time_base
    # The file's duration begins with its first sound, perhaps long before the first picture.
    late = max((origin or start) - start, 0.0)
    return max((container.duration or 0) / av.time_base - late, 0.0)


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
