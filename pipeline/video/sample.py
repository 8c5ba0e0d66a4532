"""Read chosen frames of a canonical clip as the square pictures that CLIP sees."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.dataset import Frames
from pipeline.video.grid import pick
from pipeline.video.probe import opened

Pictures = NDArray[np.uint8]


def num_frames_and_rate(path: Path) -> tuple[int, float]:
    """The frames of a canonical clip, counted from its packets, and their rate in frames a second. Raises ValueError."""
    with opened(path) as container:
        stream = _stream(container, path)
        try:
            number = sum(packet.size > 0 for packet in container.demux(stream))
        except FFmpegError as error:
            raise _broken(path, str(error.strerror)) from error
        return number, _rate(stream, path)


def read_frames(path: Path, indices: list[int], *, size: int, resize: str = "crop", interpolation: str = "bicubic") -> Pictures:
    """The frames `indices` of a canonical clip, in that order: (len(indices), 3, size, size), RGB, each made a `square`.

    Raises ValueError, naming the file, if a frame is not there or does not decode.
    """
    wanted = sorted(set(indices))
    if wanted and wanted[0] < 0:
        raise ValueError(f"{path} has no frame {wanted[0]}; padding is not read")
    squares: dict[int, Pictures] = {}
    with opened(path) as container:
        try:
            for index, frame in _frames(container, path, wanted):
                picture = square(_picture(frame), size, resize=resize, interpolation=interpolation)
                squares[index] = np.asarray(picture).transpose(2, 0, 1)
        except FFmpegError as error:
            raise _broken(path, str(error.strerror)) from error
    pictures = np.empty((len(indices), 3, size, size), np.uint8)
    for place, index in enumerate(indices):
        pictures[place] = squares[index]
    return pictures


def square(picture: Image.Image, size: int, *, resize: str = "crop", interpolation: str = "bicubic") -> Image.Image:
    """Scale the short side to `size`, then cut out the middle (crop), or scale both sides to it (squash).

    Lengths are rounded as torchvision rounds them.
    """
    method = Image.Resampling[interpolation.upper()]
    if resize == "squash":
        return picture.resize((size, size), method)
    short, long = min(picture.size), max(picture.size)
    other = int(size * long / short)
    width, height = (size, other) if picture.width <= picture.height else (other, size)
    if picture.size != (width, height):
        picture = picture.resize((width, height), method)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def _frames(container: InputContainer, path: Path, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Each of the ascending indices `wanted` with its frame; jumps to a keyframe where the next one is far."""
    stream = _stream(container, path)
    rate = _rate(stream, path)
    assert stream.time_base is not None
    reader, position = container.decode(stream), -1
    for index in wanted:
        # A canonical clip has a keyframe each second, so a shorter jump would not save a decoded frame.
        if index > position + rate:
            container.seek(round(index / rate / stream.time_base), stream=stream, backward=True)
            reader = container.decode(stream)
        for frame in reader:
            position = _position(frame, rate, path)
            if position >= index:
                break
        if position != index:
            raise _broken(path, f"it has no frame {index}")
        yield index, frame


def _position(frame: VideoFrame, rate: float, path: Path) -> int:
    if frame.time is None or frame.is_corrupt:
        raise _broken(path, "a frame is damaged")
    return round(frame.time * rate)


def _picture(frame: VideoFrame) -> Image.Image:
    return Image.fromarray(frame.to_ndarray(format="rgb24"))


def _stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise _broken(path, "it holds no video stream")
    stream = container.streams.video[0]
    stream.thread_count = 1
    # Otherwise the decoder paints over what is damaged.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _rate(stream: VideoStream, path: Path) -> float:
    if not stream.average_rate:
        raise _broken(path, "it states no frame rate")
    return float(stream.average_rate)


def _broken(path: Path, why: str) -> ValueError:
    return ValueError(f"the clip {path} cannot be read: {why}; delete it and re-run rule transcode")


def sampled(path: Path, settings: Frames) -> tuple[Pictures, list[int], list[bool]]:
    """The frames (T, 3, S, S) of one clip with zeros for padding, their indices, and the mask."""
    num_frames, fps = num_frames_and_rate(path)
    index, mask = pick(settings.grid, num_frames=num_frames, fps=fps, number=settings.number)
    pictures = np.zeros((settings.number, 3, settings.size, settings.size), np.uint8)
    real = [i for i in index if i >= 0]
    pictures[np.array(mask)] = read_frames(path, real, size=settings.size, resize=settings.resize, interpolation=settings.interpolation)
    return pictures, index, mask
