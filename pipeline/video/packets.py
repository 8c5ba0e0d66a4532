"""Facts from the packets of a stream, for which no header is believed: how many pictures, how long, which first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.video.interlaced import Fields, Look
from pipeline.video.tags import Tags, Watch

# Where a format lets the clock start anew, FFmpeg joins steps in it that are longer, or go back further; seconds.
STEP, BACK = 10.0, 0.1


@dataclass(frozen=True)
class Packets:
    """All packets of one stream."""

    number: int  # of those that hold a picture
    seconds: float  # from the first picture to the end of the last one, clocks joined
    joined: bool  # whether the clock started anew
    origin: float | None  # seconds on the file's clock when its first picture is shown
    width: int  # of the first picture; later ones may differ
    height: int
    rotation: int  # degrees counter-clockwise to turn the picture by
    fields: Fields
    colours: tuple[Tags, ...]
    encrypted: bool
    others: float  # seconds on the file's clock when the last packet of any other stream ends; 0 without one


def read(container: InputContainer, streams: Sequence[VideoStream]) -> list[Packets]:
    """Read the file to its end, once for all `streams`, each of which has a decoder."""
    joins = bool(Flags(container.format.flags) & Flags.ts_discont)
    seconds = (container.duration or 0) / av.time_base
    readings = {stream.index: _Reading(stream, Look(stream, seconds=seconds), Watch(stream), joins) for stream in streams}
    ends: dict[int, int] = {}
    try:
        for packet in _demuxed(container):
            index = packet.stream_index
            if index in readings:
                readings[index].take(cast("Packet[VideoStream]", packet))
            elif packet.pts is not None:
                ends[index] = max(ends.get(index, 0), packet.pts + (packet.duration or 0))
    except FFmpegError:
        # A broken tail: what comes before it is counted here, and the strict pass of the transcoder reports it.
        pass
    others = max((float(end * (container.streams[index].time_base or 0)) for index, end in ends.items()), default=0.0)
    return [reading.done(others) for reading in readings.values()]


def _demuxed(container: InputContainer) -> Iterator["Packet[Any]"]:
    """All packets, also behind those of a stream that the header did not name, for which PyAV looks in the list that it made of it."""
    going = True
    while going:
        going = False
        try:
            yield from container.demux()
        except IndexError:
            going = True


@dataclass
class _Reading:
    stream: VideoStream
    look: Look
    watch: Watch
    joins: bool
    number: int = 0
    lengths: int = 0  # of all pictures, where no packet has a time
    first: int | None = None
    last: int | None = None
    shift: int = 0  # what a joined clock is moved by
    joined: bool = False
    encrypted: bool = False
    _next: int | None = None  # when the next packet is to be decoded

    def take(self, packet: "Packet[VideoStream]") -> None:
        self.encrypted |= packet.has_sidedata("encryption_info")
        shown = packet.size > 0 and not packet.is_discard
        if shown:
            self.number += 1
            self.lengths += packet.duration or 0
            self._join(packet)
            self._extend(packet)
        elapsed = self._of((packet.pts or 0) + self.shift - self.first) if self.first is not None else 0.0
        decoded = self.look.offer(packet, seconds=elapsed)
        if decoded is None:
            self.watch.look(packet)
        else:
            self.watch.see(decoded)

    def _join(self, packet: "Packet[VideoStream]") -> None:
        """Move the clock where it jumps, as ffmpeg does."""
        if not self.joins:
            return
        # Pictures are shown in another order than they are decoded in, but not seconds apart.
        time, back = (packet.pts, STEP) if packet.dts is None else (packet.dts, BACK)
        if time is not None:
            step = 0.0 if self._next is None else self._of(time + self.shift - self._next)
            if self._next is not None and (step > STEP or step < -back):
                self.shift, self.joined = self._next - time, True
            if self._next is None or packet.dts is not None or step > 0:
                self._next = time + self.shift
        if self._next is not None:
            self._next += packet.duration or 0

    def _extend(self, packet: "Packet[VideoStream]") -> None:
        if packet.pts is None:
            return
        if self.joins and packet.dts is not None and self._of(packet.pts - packet.dts) > STEP:
            return  # the last picture before a jump, with the time of the first one after it
        start = packet.pts + self.shift
        end = start + (packet.duration or 0)
        self.first = start if self.first is None else min(self.first, start)
        self.last = end if self.last is None else max(self.last, end)

    def _of(self, ticks: int) -> float:
        return float(ticks * (self.stream.time_base or 0))

    def done(self, others: float) -> Packets:
        picture = self.look.first
        return Packets(
            number=self.number,
            seconds=self._of(self.lengths if self.first is None or self.last is None else self.last - self.first),
            joined=self.joined,
            origin=picture.time if picture else None,
            width=picture.width if picture else self.stream.width,
            height=picture.height if picture else self.stream.height,
            rotation=picture.rotation if picture else 0,
            fields=self.look.fields(),
            colours=tuple(self.watch.seen),
            encrypted=self.encrypted,
            others=others,
        )
