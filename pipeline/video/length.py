"""How long a video should be: as its own track says, else its file, unless the file proves to be whole."""

import re

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.video.packets import Packets

LACK = 0.5  # seconds that a video may be shorter than stated before the reason is looked for
CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def seconds(container: InputContainer, stream: VideoStream, packets: Packets) -> float:
    """The seconds from the first picture on that should be there, at least those that are; 0 if nothing says it."""
    if packets.joined:  # what a header says of the end means one of the clocks
        return packets.seconds
    own = _track(container, stream, packets.origin or 0.0)
    stated = own or _file(container, stream, packets.origin)
    lack = stated - packets.seconds
    if lack > LACK and packets.number and _is_whole(stream, packets, lack=lack, known=bool(own)):
        return packets.seconds
    return max(stated, packets.seconds)


def _is_whole(stream: VideoStream, packets: Packets, *, lack: float, known: bool) -> bool:
    """Whether a video that lacks seconds never had them. `known`: its own track, and not the file, says that it has."""
    if stream.frames:  # an index names all pictures
        return packets.number >= stream.frames
    # A file that was cut off lacks the end of all its streams, whose packets lie side by side.
    end = (packets.origin or 0.0) + packets.seconds + lack
    return not known and packets.others >= end - lack / 2


def _track(container: InputContainer, stream: VideoStream, origin: float) -> float:
    """The seconds that the header states for the stream itself; 0 if it states none."""
    if container.format.name == "matroska,webm":
        return _after(_tag(stream), origin)
    if not stream.duration or not stream.time_base or container.format.name == "asf":  # that one repeats the file's duration
        return 0.0
    late = origin - float((stream.start_time or 0) * stream.time_base)
    return max(float(stream.duration * stream.time_base) - max(late, 0.0), 0.0)


def _tag(stream: VideoStream) -> float:
    """The end of a track by Matroska's tag DURATION, in whatever language; 0 without one."""
    for name, text in stream.metadata.items():
        if name.split("-")[0] == "DURATION" and (found := CLOCK.match(text)):
            hours, minutes, rest = found.groups()
            return 3600.0 * int(hours) + 60.0 * int(minutes) + float(rest)
    return 0.0


def _file(container: InputContainer, stream: VideoStream, origin: float | None) -> float:
    """The seconds that the header states for the file, without those before the first picture."""
    start, whole = (container.start_time or 0) / av.time_base, (container.duration or 0) / av.time_base
    if stream.duration and stream.time_base:  # the file's, to which FFmpeg adds the start of the stream
        whole = min(whole, float(stream.duration * stream.time_base))
    first = start if origin is None else origin
    # It begins with the first sound, perhaps long before the first picture.
    return min(_after(whole, first), max(whole - max(first - start, 0.0), 0.0))


def _after(end: float, first: float) -> float:
    """Some writers count from zero on the clock, and some from the first picture; what is there is known to be at least that long."""
    return end - first if end > first else end
