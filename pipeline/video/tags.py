"""The colour tags of a stream, in the numbers and names of ITU-T H.273, and their meaning."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

UNSAID = 2
BT709, BT601, BT2020 = 1, 6, 9
PQ, HLG = 16, 18
LIMITED, FULL = 1, 2
MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc", 10: "bt2020c"}
MATRICES |= {11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp", 15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro"}
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428"}
PRIMARIES |= {11: "smpte431", 12: "smpte432", 22: "ebu3213", 256: "vgamut"}
TRANSFERS = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"}
TRANSFERS |= {11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", PQ: "smpte2084"}
TRANSFERS |= {17: "smpte428", HLG: "arib-std-b67", 256: "vlog"}
RANGES = {LIMITED: "limited", FULL: "full"}
# Those that a plain scaler reads, or that no player tells from BT.709; the rest of what has a name is converted, or cannot be.
USUAL_MATRICES = {1, 4, 5, 6, 7, 9}
USUAL_PRIMARIES = {1, 5, 6, 7, 22}
USUAL_TRANSFERS = {1, 4, 5, 6, 7, 11, 12, 13, 14, 15}
WIDE = {4, 8, 9, 10, 11, 12}
CONSTANT = {10, 13}  # matrices of constant luminance
CURVED = {8, 9, 10, PQ, HLG}  # linear, logarithmic, HDR
DOLBY = ("dvh1", "dvhe", "dav1")  # names of a stream that is Dolby Vision first; one that is something else first has that one's name
IPT = 15
EVERY = 0.5  # seconds between two pictures that are looked at


@dataclass(frozen=True)
class Tags:
    """The colour tags of one picture."""

    matrix: int
    primaries: int
    transfer: int
    range: int  # 0: not said
    rgb: bool = False  # the pixels are RGB, whatever the tags say

    @staticmethod
    def of(frame: VideoFrame) -> "Tags":
        rgb = frame.format.is_rgb or frame.format.has_palette
        matrix = 0 if rgb else int(frame.colorspace)
        said = int(frame.color_range) or (FULL if frame.format.name.startswith("yuvj") else 0)
        return Tags(matrix, int(frame.color_primaries), int(frame.color_trc), said, rgb)


@dataclass(frozen=True)
class Meaning:
    """The meaning of tags; all that no player tells from BT.709 is BT.709."""

    matrix: int
    primaries: int
    transfer: int
    range: int
    lacks: tuple[str, ...] = ()  # what the tags say and nothing here can convert

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def is_usual(self) -> bool:
        """Whether a plain scaler gives the right picture."""
        return self.matrix in (0, *USUAL_MATRICES) and self.primaries == BT709 and self.transfer not in CURVED

    def like(self, other: "Meaning") -> bool:
        """Whether one conversion is right for both."""
        return self._key() == other._key()

    def _key(self) -> tuple[int, ...]:
        return (BT601 if self.matrix == 5 else self.matrix, self.primaries, self.transfer if self.transfer in CURVED else BT709, self.range)


def meaning(tags: Tags, *, large: bool, before: Meaning | None = None) -> Meaning:
    """The meaning of `tags`. A reserved one, or one that contradicts the pixels, counts as not said.

    `large`: the picture has the size from which players take BT.709 where nothing is said; `before`: of the first picture of the file.
    """
    lacks = []
    transfer = tags.transfer if tags.transfer in USUAL_TRANSFERS | CURVED else BT709
    if tags.transfer in TRANSFERS and tags.transfer != transfer:
        lacks.append(f"transfer {TRANSFERS[tags.transfer]}")
    hdr = transfer in (PQ, HLG)
    primaries = BT2020 if hdr and tags.primaries not in PRIMARIES else tags.primaries if tags.primaries in WIDE and not lacks else BT709
    if tags.primaries in PRIMARIES and tags.primaries not in WIDE | USUAL_PRIMARIES:
        lacks.append(f"primaries {PRIMARIES[tags.primaries]}")
    matrix = tags.matrix
    if tags.rgb:
        matrix = 0
    elif not _is_known(matrix, hdr=hdr, transfer=tags.transfer):
        if matrix in MATRICES and matrix:
            lacks.append(f"matrix {MATRICES[matrix]}")
        matrix = before.matrix if before else BT2020 if primaries == BT2020 else BT709 if large else BT601
    transfer = BT709 if transfer == 12 else transfer  # zscale does not know this extension of BT.709's
    return Meaning(matrix, primaries, transfer, tags.range or (FULL if tags.rgb else LIMITED), tuple(lacks))


def _is_known(matrix: int, *, hdr: bool, transfer: int) -> bool:
    """Whether a conversion from this matrix is known: constant luminance and ICtCp are defined for some transfers only."""
    if matrix in CONSTANT:
        return transfer in (1, UNSAID, 6, 14, 15)
    return matrix in USUAL_MATRICES | {8, 12} or (matrix == 14 and hdr)


def columns(seen: Sequence[Tags]) -> dict[str, str]:
    """The tags of the pictures of a stream: several words where they change, "" for nothing, a number where the standard has no name."""
    names = {"matrix": MATRICES, "primaries": PRIMARIES, "transfer": TRANSFERS, "range": RANGES}
    nothing = {"range": 0}
    found = {}
    for column, known in names.items():
        numbers = dict.fromkeys(getattr(tags, column) for tags in seen)
        found[column] = ", ".join(known.get(n, str(n)) for n in numbers if n != nothing.get(column, UNSAID))
    return found


class Watch:
    """Collects the different tags of a stream: of its first picture, and of keyframes at least EVERY apart, where they may change."""

    def __init__(self, stream: VideoStream) -> None:
        self.seen: dict[Tags, None] = {}
        self._stream = stream
        self._last: float | None = None

    def see(self, frames: Sequence[VideoFrame]) -> None:
        """Pictures that were decoded for something else."""
        for frame in frames:
            self._see(frame)
            self._last = frame.time if self._last is None or frame.time is None else max(self._last, frame.time)

    def look(self, packet: Any) -> None:
        """Decode the packet if it is a keyframe whose turn it is, or the empty one at the end."""
        time = None if packet.pts is None else float(packet.pts * packet.time_base)
        if packet.size:
            if not packet.is_keyframe or (time is not None and self._last is not None and abs(time - self._last) < EVERY):
                return
            self._last = time
        try:
            for frame in self._stream.decode(packet):
                self._see(frame)
        except FFmpegError:
            pass  # damage is for the transcoder to report

    def _see(self, frame: VideoFrame) -> None:
        found = Tags.of(frame)
        # Profile 5, which has no base layer, is the one that says nothing.
        if found.matrix == found.transfer == UNSAID and self._name() in DOLBY:
            found = replace(found, matrix=IPT)
        self.seen[found] = None

    def _name(self) -> str:
        """The four letters of the stream's kind in its container."""
        try:
            return str(self._stream.codec_context.codec_tag)
        except UnicodeDecodeError:  # a number, as in MPEG-TS
            return ""
