"""Frames of clips as JPEG, the square that an adapter sees, kept while there is room."""

import functools
import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from PIL import Image

from pipeline.video.sample import num_frames_and_rate, read_frames

SIDE = 224  # pixels
ROOM = 32 * 2**20  # bytes
QUALITY = 85


class Pictures:
    """Makes and keeps pictures; threads may share it. Clips are told apart by `sha256`, so a file that was replaced is read again."""

    def __init__(self, room: int = ROOM) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock, self._room, self.size = Lock(), room, 0

    def jpeg(self, clip: Path, *, sha256: str, seconds: float) -> bytes:
        """The frame on screen at `seconds`, the last one if that is later. ValueError if the clip cannot be read."""
        number, rate = measured(clip, sha256)
        key = (sha256, min(int(seconds * rate + 0.5), number - 1))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _jpeg(clip, key[1])
        with self._lock:
            if key not in self._kept:
                self.size += len(made)
            self._kept[key] = made
            while self.size > self._room:
                self.size -= len(self._kept.popitem(last=False)[1])
        return made


@functools.lru_cache(maxsize=4096)
def measured(clip: Path, sha256: str) -> tuple[int, float]:
    """The frames of a clip and their rate; `sha256` tells when to look again."""
    del sha256
    return num_frames_and_rate(clip)


def _jpeg(clip: Path, index: int) -> bytes:
    picture = read_frames(clip, [index], size=SIDE)[0].transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
