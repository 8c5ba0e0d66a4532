"""Vectors to reuse: those in the index that is replaced, and in the parts of a build that was killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.search.index_file import Rows
from pipeline.search.reader import Reader

PARTS = ".parts"  # folder beside an index
STAMP = {"adapter_sha256": "the adapter", "backbone_digest": "the backbone", "shape": "the shape of videos and texts"}
OPEN = 8  # files at once


class Known:
    """Vectors by the SHA-256 of their clips, so names and places do not matter. `captions`: those of the index before, None if it has none.

    Vectors of another adapter, backbone, shape or format are left out; `why` says so of the index before, "" if they can be taken.
    """

    def __init__(self, index: Path, about: dict[str, Any]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self._texts: dict[str, int] = {}
        self._open: dict[Path, Reader] = {}
        self._index = index
        self.captions: pd.DataFrame | None = None
        self.why = self._take(index, about)
        for part in sorted((index.parent / PARTS).glob("*.h5")):
            self._take(part, about)

    def _take(self, path: Path, about: dict[str, Any]) -> str:
        try:
            if not path.exists():
                return ""
            reader = self._reader(path)
        except ValueError as error:
            return str(error)
        own = path == self._index
        if own and len(reader.captions):
            self.captions = reader.captions
        changed = [what for key, what in STAMP.items() if reader.about[key] != about[key]]
        if not changed:
            self.add(path, reader.videos)
            self._texts |= {text: row for row, text in enumerate(reader.captions["text"])} if own else {}
        return f"{' and '.join(changed)} changed" if changed else ""

    def _reader(self, path: Path) -> Reader:
        if path not in self._open:
            if len(self._open) == OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[path] = Reader(path)
        return self._open[path]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def add(self, path: Path, videos: pd.DataFrame) -> None:
        """The vectors of `videos` are in the index or part `path`."""
        for row, digest in enumerate(videos["clip_sha256"]):
            self._places.setdefault(digest, (path, row))

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def rows(self, digests: list[str]) -> Rows:
        """The vectors of some clips, in that order."""
        places = [self._places[digest] for digest in digests]
        blocks, order = [], []
        for path in dict.fromkeys(path for path, _ in places):
            here = [number for number, (other, _) in enumerate(places) if other == path]
            blocks.append(self._reader(path).rows(np.array([places[number][1] for number in here])))
            order += here
        return _joined(blocks, np.argsort(order))

    def texts(self) -> dict[str, np.ndarray]:
        """Vectors (E,) by their texts."""
        if not self._texts:
            return {}
        vectors = self._reader(self._index).whole("text")
        return {text: vectors[row] for text, row in self._texts.items()}


def _joined(blocks: list[Rows], order: np.ndarray) -> Rows:
    frames, mask, times = (np.concatenate([getattr(block, name) for block in blocks])[order] for name in ("frames", "mask", "times"))
    video = None if blocks[0].video is None else np.concatenate([block.video for block in blocks if block.video is not None])[order]
    return Rows(video=video, frames=frames, mask=mask, times=times)
