"""Whether each picture of a video shows two moments, every other line the second one, and the filter that leaves the first.

A stream's word for it is wrong both ways: films are broadcast as interlaced, and tape is stored as progressive. So pictures that follow
each other are looked at where they move: they are woven anew, the lines of one half from the next picture. If each showed one moment, both
weaves have combs that the pictures have not. If each showed two, one weave is no worse than the pictures, and the other one much worse.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Luma = NDArray[np.int16]

PROGRESSIVE, TOP, BOTTOM, FALSE = "progressive", "tff", "bff", "psf"
SAID = {2: TOP, 3: BOTTOM, 4: BOTTOM, 5: TOP}  # FFmpeg's field orders, by the half that is shown first
NO_CAMERA = ("gif", "png", "apng", "webp")  # codecs of drawings
LEAST = 16  # lines: fewer tell nothing
# Of the duration: where pictures are looked at, from the next keyframe on, and where else if some call themselves interlaced, which
# in a broadcast is true of some parts only.
PLACES, FURTHER = (0.0, 0.5), (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
PACKETS, ENOUGH = 16, 6  # at each of them: the most to decode, and pairs of pictures that must tell
COLUMNS = 256  # of a wider picture some are left out
MOVED = 12  # of 255: a change that noise does not make
AREA = 0.002  # of a picture: less movement tells nothing
# Of two weaves of interlaced pictures the one has at most so many times the combs that they have themselves, and the other so many times
# more: the less alike, the further apart they must be. Of pictures with one moment each both have many more.
INTERLACED, COMBED = ((1.25, 1.4), (1.7, 1.9)), 1.4
# The share of the pairs that tell from which on a stream is interlaced: one that does not say so (film that was stretched for television
# is in three of five), and one that does.
SHARE, SHARE_SAID = 0.5, 0.1
SURE = 3  # pairs that agree, and none with the other line first, where the stream does not say it: drawn shapes give a few by chance


@dataclass(frozen=True)
class Fields:
    """`order`: progressive, tff or bff (the top or bottom line is the earlier one), or psf: interlaced by its word, not by its pictures."""

    order: str = PROGRESSIVE
    marked: bool = False  # whether pictures say it themselves, so that others between them can be left alone

    @property
    def two(self) -> bool:
        """Whether pictures show two moments."""
        return self.order in (TOP, BOTTOM)


WHOLE = Fields()  # each picture shows one moment


class Look:
    """Decodes the first pictures of a stream and some later ones, and judges them."""

    def __init__(self, stream: VideoStream, *, seconds: float) -> None:
        """`seconds`: how long it is, about; 0 if that is not known."""
        self.first: VideoFrame | None = None
        self._stream, self._seconds = stream, seconds
        self._places = [place * seconds for place in PLACES if seconds] or [0.0]
        self._useful = stream.height >= LEAST and stream.codec_context.codec.canonical_name not in NO_CAMERA
        self._votes: list[str] = []
        self._marked = False
        self._begin()

    def _begin(self) -> None:
        self._places.pop(0)
        self._before: Luma | None = None
        self._decoded, self._told, self._looking = 0, 0, True

    def offer(self, packet: "Packet[VideoStream]", *, seconds: float) -> list[VideoFrame] | None:
        """Each packet of the stream in turn; what was decoded, or None if the packet was left alone, and others may decode it.

        `seconds`: its time after the first one.
        """
        frames = []
        if not self._looking and self._useful and self._places and packet.is_keyframe and seconds >= self._places[0]:
            frames = _frames(self._stream, None)
            self._stream.codec_context.flush_buffers()
            self._begin()
        if not self._looking:
            return None
        self._decoded += 1
        now = _frames(self._stream, packet)
        for frame in now:
            self._see(frame)
        # What is hidden before the first picture may be what that one waits for.
        self._looking = self.first is None or (self._useful and self._told < ENOUGH and self._decoded < PACKETS)
        return frames + now

    def _see(self, frame: VideoFrame) -> None:
        self.first = self.first or frame
        if frame.interlaced_frame and not self._marked:
            self._marked, self._places = True, [place * self._seconds for place in FURTHER if self._seconds]
        if not self._useful or self._told >= ENOUGH:
            return
        now = _luma(frame)
        if self._before is not None and now is not None and self._before.shape == now.shape and (told := vote(self._before, now)):
            self._votes.append(told)
            self._told += 1
        self._before = now

    def fields(self) -> Fields:
        """The verdict on all that was offered."""
        context = self._stream.codec_context
        said = SAID.get(context.field_order, "")
        if self._marked and not said:
            said = BOTTOM if context.name == "dvvideo" else TOP
        return Fields(verdict(self._votes, said=said), self._marked)


def verdict(votes: list[str], *, said: str) -> str:
    """`Fields.order`, of the `votes` of pairs of pictures and of what the stream says ("": nothing, or progressive)."""
    counts = Counter(votes)
    order = max((TOP, BOTTOM), key=lambda half: counts[half])
    share = counts[order] / max(len(votes), 1)
    if said and len(votes) >= 2:
        return order if share >= SHARE_SAID else FALSE
    if said:
        return said
    agreed = counts[TOP] + counts[BOTTOM] == counts[order]
    return order if agreed and counts[order] >= SURE and share >= SHARE else PROGRESSIVE


def vote(one: Luma, other: Luma) -> str:
    """The kind of two pictures in a row: progressive, tff or bff, or "" if that cannot be told."""
    moved = np.abs(one - other) > MOVED
    if moved.mean() < AREA:
        return ""
    moved[1:-1] |= moved[:-2] | moved[2:]
    top, bottom = one.copy(), one.copy()
    top[::2], bottom[1::2] = other[::2], other[1::2]
    own = _combs(one, moved) + _combs(other, moved)
    later, earlier = 2 * _combs(top, moved), 2 * _combs(bottom, moved)
    low, high = min(later, earlier), max(later, earlier)
    if any(low <= alike * own and high > apart * low > 0 for alike, apart in INTERLACED):
        # The top of the next picture goes with the bottom of this one, if the top comes first.
        return TOP if later < earlier else BOTTOM
    return PROGRESSIVE if low > COMBED * own else ""


def _combs(picture: Luma, where: NDArray[np.bool_]) -> float:
    """How much lines differ from both their neighbours."""
    found = np.abs(picture[:-2] + picture[2:] - 2 * picture[1:-1])
    return float(found[where[1:-1]].sum())


def _luma(frame: VideoFrame) -> Luma | None:
    """The brightness of a picture with an even number of lines; None if its format cannot be read as grey."""
    try:
        grey = frame.to_ndarray(format="gray")
    except (FFmpegError, ValueError):
        return None
    return grey[: grey.shape[0] // 2 * 2, :: -(-grey.shape[1] // COLUMNS)].astype(np.int16)


def _frames(stream: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """The pictures that `packet` completes, or without one those that wait for more; none if it is damaged."""
    try:
        return list(stream.decode(packet))
    except FFmpegError:
        return []


def one_moment(picture: Any, fields: Fields) -> Any:
    """The stream `picture` of ffmpeg's filters with the earlier moment of each of its pictures; untouched if they have one only."""
    if not fields.two:
        return picture
    # A picture of another size later in the stream would be too large for the filter; this one lets the usual ones pass as they are.
    picture = picture.filter("scale")
    return picture.filter("bwdif", mode="send_frame", parity=fields.order, deint="interlaced" if fields.marked else "all")
