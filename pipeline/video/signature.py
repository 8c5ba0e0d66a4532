"""The signature of a clip: what it looks like in at most 768 numbers, nearly equal for copies of one film in other containers and sizes."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

PARTS = 8  # of the clip's time, at most
SIDE = 8  # tiles of a picture's height, and of its width, whose brightness is taken; of colour half as many
BRIGHT = SIDE**2
TILES = BRIGHT + BRIGHT // 2
HEAD = 4  # bytes that hold the number of frames

Tiles = NDArray[np.uint8]


@dataclass(frozen=True)
class Signatures:
    """Of N clips: their `frames` (N,), frames a part `size` (N,), whole `parts` (N,), and `tiles` (N, PARTS, TILES), 0 after these."""

    frames: NDArray[np.int64]
    size: NDArray[np.int64]
    parts: NDArray[np.int64]
    tiles: Tiles


class Small:
    """Makes frames small; one for a clip, as preparing it costs more than a frame does."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Tiles:
        """The tiles (TILES,) of a frame: their mean brightness row by row, then the two differences of colour."""
        small = self._scaler.reformat(frame, SIDE, SIDE, "yuv420p", interpolation="AREA")
        return np.asarray(small.to_ndarray(), np.uint8).reshape(TILES)


def part_size(frames: int) -> int:
    """Frames of a part: the power of two by which the clip has at most PARTS parts.

    A copy that is a frame longer than its film has the same parts, or each is two of the film's; were the time cut into equal shares, all
    parts of a short clip would shift.
    """
    return 1 << max(0, (frames - 1).bit_length() - (PARTS - 1).bit_length())


def signature(frames: Sequence[Tiles]) -> str:
    """Text of the signature: the number of frames, and the tiles (TILES,) of all frames averaged over each whole part of the time."""
    size = part_size(len(frames))
    parts = len(frames) // size
    means = np.asarray(frames[: parts * size], np.float64).reshape(parts, size, TILES).mean(axis=1)
    return base64.b64encode(len(frames).to_bytes(HEAD, "little") + np.rint(means).astype(np.uint8).tobytes()).decode()


def signatures(texts: Sequence[str]) -> Signatures:
    """The signatures that these texts hold."""
    raw = [base64.b64decode(text) for text in texts]
    frames = [int.from_bytes(one[:HEAD], "little") for one in raw]
    tiles, parts = np.zeros((len(raw), PARTS, TILES), np.uint8), np.zeros(len(raw), np.int64)
    for n, one in enumerate(raw):
        seen = np.frombuffer(one, np.uint8, offset=HEAD).reshape(-1, TILES)
        parts[n] = len(seen)
        tiles[n, : len(seen)] = seen
    return Signatures(np.array(frames, np.int64), np.array([part_size(n) for n in frames], np.int64), parts, tiles)
