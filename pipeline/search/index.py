"""An index that is searched: text to video, video to video, video to text.

Scores are those of evaluation (`pipeline.evaluation.validation.similarities`). V videos, T frames, E embedding.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.adapters.encoder import Encoded
from pipeline.core import layout
from pipeline.search import nearest
from pipeline.search.nearest import Approximate
from pipeline.search.reader import Reader

NAME = "index.h5"
CLIPS = "clips"  # of a folder's gallery, beside the backbones
HELD = 2**30  # bytes of frames that are kept in memory where each query weighs them
SCANNED = 2048  # videos whose frames a query weighs at once, or texts that weigh the frames of one


@dataclass(frozen=True)
class Hit:
    """A video that was found. `moment`: seconds in its clip of the real frame with the highest cosine with the query."""

    row: int
    video_id: str
    score: float
    moment: float


@dataclass(frozen=True)
class CaptionHit:
    """A text that was found. `video`: the row of its own video, -1 if it belongs to none."""

    row: int
    caption_id: str
    text: str
    score: float
    video: int


class Gallery:
    """An index open for searching. `about`: what it was made from and with; `videos`, `captions`: tables (index_file.py)."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.path, self.about, self.videos, self.captions = reader.path, reader.about, reader.videos, reader.captions
        self.name, self.home = named(reader.path), home(reader.path)
        self.temperature = reader.temperature
        self._approximate: Approximate | None = None

    @classmethod
    def open(cls, path: Path) -> "Gallery":
        """ValueError for a file that is not there, damaged, or of another format."""
        return cls(Reader(path))

    def close(self) -> None:
        self._reader.close()

    def __len__(self) -> int:
        return len(self.videos)

    def by_text(self, query: np.ndarray, k: int) -> list[Hit]:
        """The `k` best videos for a text (E,), as `Encoder.texts` gives it; videos with equal scores in the order of their rows."""
        return self._best(query, k)

    def by_video(self, row: int, k: int) -> list[Hit]:
        """The videos most like that of `row`, without it."""
        return self._best(nearest.vector(self.encoded(row))[0], k, without=row)

    def by_vector(self, encoded: Encoded, k: int) -> list[Hit]:
        """The videos most like one from elsewhere."""
        return self._best(nearest.vector(encoded)[0], k)

    def captions_of(self, row: int, k: int) -> list[CaptionHit]:
        """The texts that fit the video of `row` best."""
        return self.captions_for(self.encoded(row), k)

    def captions_for(self, encoded: Encoded, k: int) -> list[CaptionHit]:
        """The texts that fit a video from elsewhere best. ValueError if the index has no texts."""
        if not len(self.captions):
            raise ValueError(f"the index {self.name} has no texts to choose from; index again with --texts FILE, one sentence a line")
        texts, table = self._reader.whole("text"), self.captions
        if self.temperature is None:
            assert encoded.video is not None
            scores = nearest.products(texts, encoded.video[0])
        else:
            parts = (texts[start : start + SCANNED] for start in range(0, len(texts), SCANNED))
            scores = np.concatenate([nearest.weighed(part, encoded, temperature=self.temperature)[:, 0] for part in parts])
        rows = nearest.best(scores, k).tolist()
        return [CaptionHit(row, table["caption_id"][row], table["text"][row], float(scores[row]), int(table["row"][row])) for row in rows]

    def scores(self, query: np.ndarray) -> np.ndarray:
        """(V,): the exact scores of all videos for a text (E,) or a vector."""
        if self.temperature is None:
            return nearest.products(self._reader.whole("video"), query)
        parts = [nearest.weighed(query[None], piece, temperature=self.temperature)[0] for piece in self._pieces()]
        return np.concatenate(parts)

    def encoded(self, row: int) -> Encoded:
        """A video of the gallery, as the encoder gave it."""
        rows = self._reader.rows(np.array([row]))
        return Encoded(video=rows.video, frames=rows.frames, mask=rows.mask)

    def times(self, row: int) -> list[float]:
        """Seconds in its clip of the real frames of a video."""
        times, mask = self._reader.row("times", row), self._reader.row("mask", row)
        seconds: list[float] = times[mask].tolist()
        return seconds

    def clip(self, row: int) -> Path:
        """The clip of a video. ValueError if the index names a file that is none of its clips."""
        root, clip = str(self.about["root"]), str(self.videos["clip"][row])
        for path in (PurePosixPath(root), PurePosixPath(clip)):
            # By name: the files of a DVC workspace may be links into its cache.
            if path.is_absolute() or ".." in path.parts or "\0" in str(path) or not clip.endswith(".mp4"):
                raise ValueError(f"{self.path} cannot be used: {clip!r} in {root!r} is no clip of this folder; delete it and index again")
        return self.home / root / clip

    def _best(self, query: np.ndarray, k: int, *, without: int = -1) -> list[Hit]:
        if self.temperature is None and self.about["search"]["kind"] == "approximate":
            rows = self._proposed(query, k + 1)
            scores = nearest.products(self._reader.whole("video")[rows], query)
        else:
            rows, scores = np.arange(len(self)), self.scores(query)
        others = np.flatnonzero(rows != without)
        places = others[nearest.best(scores[others], k)]
        ids = self.videos["video_id"]
        found = zip(rows[places].tolist(), scores[places].tolist(), strict=True)
        return [Hit(row, ids[row], score, self._moment(row, query)) for row, score in found]

    def _proposed(self, query: np.ndarray, k: int) -> np.ndarray:
        if self._approximate is None:
            content = self._reader.whole("faiss")
            with self._reader.sound():
                self._approximate = Approximate.read(content, number=len(self), width=self._reader.width, settings=self.about["search"])
            self._reader.forget("faiss")
        return self._approximate.candidates(query, k)

    def _moment(self, row: int, query: np.ndarray) -> float:
        frames, mask, times = (self._reader.row(name, row) for name in ("frames", "mask", "times"))
        cosines = np.where(mask, frames @ query / np.maximum(np.linalg.norm(frames, axis=1), 1e-12), -np.inf)
        return float(times[int(cosines.argmax())])

    def _pieces(self) -> Iterator[Encoded]:
        """The frames of all videos, so many at once that memory stays small."""
        if self._reader.frame_bytes <= HELD:
            self._reader.whole("frames")
        for start in range(0, len(self), SCANNED):
            frames, mask = (self._reader.part(name, start, SCANNED) for name in ("frames", "mask"))
            yield Encoded(video=None, frames=frames, mask=mask)


def named(path: Path) -> str:
    """<gallery>/<backbone>/<run>/<seed> of an index.h5."""
    return layout.place(path.parent).name


def home(path: Path) -> Path:
    """The folder that indexes/ lies in, which the paths in an index are relative to."""
    return layout.place(path.parent).root


def discover(root: Path) -> dict[str, Path]:
    """name -> index.h5, of all below `root`, sorted by name."""
    found = [root]
    for depth in range(4):
        found = [Path(entry.path) for folder in found for entry in _folders(folder) if depth != 1 or entry.name != CLIPS]
    return {named(folder / NAME): folder / NAME for folder in sorted(found) if (folder / NAME).is_file()}


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
