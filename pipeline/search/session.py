"""Search session of the command and of the page: one backbone, the galleries that were indexed with it, and their adapters."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.adapters.encoder import Encoded, Encoder
from pipeline.config.parse import refuse_unknown
from pipeline.inputs.directions import reverse
from pipeline.search import nearest
from pipeline.search.index import CaptionHit, Gallery, Hit
from pipeline.search.open_indexes import Shelf
from pipeline.video.files import read_video
from pipeline.video.sample import sampled

MAX_QUERY = 1000  # characters


@dataclass(frozen=True)
class Probe:
    """The scores of a sentence with a video and with its real frames in reverse order; `times`: seconds in its clip of those frames."""

    forwards: float
    backwards: float
    times: list[float]


class Session:
    """Every index that was made with one backbone, ready to be searched. Threads may share it: one computes at a time.

    Threads of torch are the caller's (`torch.set_num_threads`), as in `Encoder`. ValueError if there is no index, or one of `names` cannot
    be used; without `names`, those that cannot be are left out.
    """

    def __init__(
        self, root: Path = Path("indexes"), *, names: Sequence[str] | None = None, place: str = "auto", backbone: str | None = None
    ) -> None:
        self._lock = threading.RLock()
        self._shelf = Shelf(root, only=names, place=place, backbone=backbone)

    @property
    def names(self) -> list[str]:
        """The indexes that can be searched, sorted."""
        return sorted(self._shelf.galleries)

    @property
    def other(self) -> dict[str, str]:
        """Those that cannot, each with the reason: of another backbone, damaged, or their adapter is gone or another one."""
        with self._lock:
            return dict(self._shelf.other)

    @property
    def encoder(self) -> Encoder:
        """Not for several threads: what is used of it besides this class must not overlap with a search."""
        return self._shelf.encoder

    def gallery(self, name: str) -> Gallery:
        """ValueError for an index that is not there or cannot be searched."""
        with self._lock:
            if name in self._shelf.other:
                raise ValueError(self._shelf.other[name])
            refuse_unknown(name, self.names, what="there is no index", there="there are")
            return self._shelf.galleries[name]

    def text(self, name: str, query: str, k: int) -> list[Hit]:
        """The videos that fit a sentence best. ValueError for an empty query, or one over MAX_QUERY characters."""
        with self._lock:
            return self.gallery(name).by_text(self.said(name, query), k)

    def video(self, name: str, row: int, k: int) -> list[Hit]:
        """The videos most like one of the gallery."""
        with self._lock:
            gallery = self.gallery(name)
            return gallery.by_video(_checked(gallery, row), k)

    def file(self, name: str, path: Path, k: int) -> list[Hit]:
        """The videos most like a file from elsewhere. ValueError if it cannot be decoded."""
        encoded = self.seen(name, path)
        with self._lock:
            return self.gallery(name).by_vector(encoded, k)

    def captions(self, name: str, row_or_file: int | Path, k: int) -> list[CaptionHit]:
        """The texts of the gallery that fit a video best."""
        encoded = self.seen(name, row_or_file) if isinstance(row_or_file, Path) else None
        with self._lock:
            gallery = self.gallery(name)
            if encoded is not None:
                return gallery.captions_for(encoded, k)
            assert isinstance(row_or_file, int)
            return gallery.captions_of(_checked(gallery, row_or_file), k)

    def search(self, name: str, asked: str | int | Path, k: int) -> list[Hit]:
        """Videos for a sentence, for a row of the gallery, or for a file."""
        if isinstance(asked, str):
            return self.text(name, asked, k)
        return self.file(name, asked, k) if isinstance(asked, Path) else self.video(name, asked, k)

    def scores(self, name: str, asked: str | int | Path) -> np.ndarray:
        """(V,): the exact scores of all videos for the same; -inf for a row with itself."""
        seen = self.seen(name, asked) if isinstance(asked, Path) else None
        with self._lock:
            gallery = self.gallery(name)
            if isinstance(asked, str):
                return gallery.scores(self.said(name, asked))
            scores = gallery.scores(nearest.vector(seen or gallery.encoded(_checked(gallery, asked)))[0])  # type: ignore[arg-type]
            if isinstance(asked, int):
                scores[asked] = -np.inf
            return scores

    def probe(self, name: str, query: str, row: int) -> Probe:
        """Temporal probe of a video: what an adapter makes of the order of its frames."""
        with self._lock:
            gallery, encoder = self.gallery(name), self.encoder
            adapter, clip = self._shelf.adapter(name), gallery.clip(_checked(gallery, row))
            pictures, _, shown = sampled(clip, encoder.shape(adapter).frames)
            frames, mask = torch.from_numpy(pictures)[None], torch.tensor([shown])
            both = encoder.videos(adapter, torch.cat([frames, reverse(frames, mask=mask)]), torch.cat([mask, mask]))
            said = self.said(name, query)
            if gallery.temperature is None:
                scores = nearest.products(nearest.vector(both), said)
            else:
                scores = nearest.weighed(said[None], both, temperature=gallery.temperature)[0]
            return Probe(float(scores[0]), float(scores[1]), gallery.times(row))

    def said(self, name: str, query: str) -> np.ndarray:
        """(E,): a sentence as the adapter of an index sees it."""
        text = query.strip()
        if not text:
            raise ValueError("the query is empty; type a sentence")
        if len(text) > MAX_QUERY:
            raise ValueError(f"the query has {len(text)} characters; at most {MAX_QUERY} are taken")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("the query holds characters that are no text; type a sentence")
        with self._lock:
            self.gallery(name)
            vector: np.ndarray = self.encoder.texts(self._shelf.adapter(name), [text])[0]
            return vector

    def seen(self, name: str, path: Path) -> Encoded:
        """A video file from elsewhere as the adapter of an index sees it, on the way of the pipeline: clip, grid, squares."""
        with self._lock:
            self.gallery(name)
            adapter = self._shelf.adapter(name)
            shape = self.encoder.shape(adapter)
        pictures, mask, _ = read_video(path, clips=shape.clips, frames=shape.frames)  # long, and others may search meanwhile
        with self._lock:
            self.gallery(name)
            return self.encoder.videos(self._shelf.adapter(name), torch.from_numpy(pictures)[None], torch.tensor([mask]))

    def refresh(self) -> list[str]:
        """Open indexes that are new or were replaced, forget those that are gone; the names of what changed. Cheap where nothing did."""
        with self._lock:
            return self._shelf.refresh()


def _checked(gallery: Gallery, row: int) -> int:
    if not 0 <= row < len(gallery):
        raise ValueError(f"{gallery.name} has no video {row}; it has {len(gallery)}, from 0 on")
    return row
