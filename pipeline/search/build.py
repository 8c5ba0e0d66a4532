"""Make an index, or bring it up to date: encode what is new, take the rest from the index before, write all to one new file."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.adapters.encoder import Encoder
from pipeline.core.hdf5 import create, written
from pipeline.core.progress import track
from pipeline.evaluation.embed import cut
from pipeline.search import contents as tables
from pipeline.search import index_file as store
from pipeline.search import nearest
from pipeline.search.contents import Found
from pipeline.search.index_file import Rows
from pipeline.search.reuse import PARTS, Known
from pipeline.video.sample import sampled


@dataclass(frozen=True)
class Made:
    """Outcome of an update: how many of the different `clips` were `encoded`, and how the index is searched."""

    encoded: int
    clips: int
    videos: int
    captions: int
    search: dict[str, Any]


def update(index: Path, found: Found, *, about: dict[str, Any], encoder: Encoder, adapter: str) -> Made:
    """Write `index` for the adapter that `encoder` has under the name `adapter`. Callers hold the lock of the index.

    `about`: what the index says of itself and neither `found` nor `encoder` does. ValueError names a video or a text whose vector is
    not a number.
    """
    about = about | {
        "kind": found.kind,
        "source": found.source,
        "root": found.root,
        "skipped": found.skipped,
        "degraded": found.degraded,
        "temperature": encoder.temperature(adapter),
        "adapter_sha256": encoder.sha256(adapter),
        "backbone_digest": encoder.clip.digest,
        "shape": encoder.header(adapter)["shape"],
    }
    known = Known(index, about)
    try:
        made = _Build(index, found, about, encoder, adapter, known).run()
    finally:
        known.close()
    shutil.rmtree(index.parent / PARTS, ignore_errors=True)
    return made


@dataclass(frozen=True)
class _Build:
    index: Path
    found: Found
    about: dict[str, Any]
    encoder: Encoder
    adapter: str
    known: Known

    def run(self) -> Made:
        found, known, label = self.found, self.known, f"encode for {self.about['run']}"
        if known.why:
            print(f"{self.index}: {known.why}; all is encoded anew", file=sys.stderr, flush=True)
        first = found.videos.drop_duplicates("clip_sha256")["clip_sha256"]
        missing = np.array([row for row, digest in first.items() if digest not in known], np.int64)
        for _ in track(self._encoded(missing), total=len(missing), label=label):
            pass
        captions = found.captions if found.captions is not None else known.captions
        captions = tables.captions([]) if captions is None else captions
        vectors, text = self._vectors(), self._texts(captions["text"].tolist())
        approximate = None if vectors is None else _approximate(vectors, text)
        search = {"kind": "exact"} if approximate is None else approximate.settings
        self._write(self.index, found.videos, captions, text, search=search, blocks=self._blocks(), approximate=approximate)
        return Made(len(missing), len(first), len(found.videos), len(captions), search)

    def _encoded(self, missing: np.ndarray) -> Iterator[int]:
        """Encode the videos of these rows; each batch is kept before the next one, so that a build that is killed goes on after it."""
        parts = self.index.parent / PARTS
        last = max((int(part.stem) for part in parts.glob("*.h5")), default=0)
        for number, rows in enumerate(cut(missing), start=last + 1):
            part, videos = parts / f"{number:06d}.h5", self.found.videos.iloc[rows].reset_index(drop=True)
            made = self._encode(rows)
            nothing = np.empty((0, made.frames.shape[2]), np.float32)
            self._write(part, videos, tables.captions([]), nothing, search={"kind": "exact"}, blocks=iter([made]))
            self.known.add(part, videos)
            yield from rows.tolist()

    def _encode(self, rows: np.ndarray) -> Rows:
        frames = self.encoder.shape(self.adapter).frames
        seen = [sampled(self.found.clip(row), frames) for row in rows.tolist()]
        pictures, index, mask = (np.stack([np.asarray(part) for part in parts]) for parts in zip(*seen, strict=True))
        made = self.encoder.videos(self.adapter, torch.from_numpy(pictures), torch.from_numpy(mask))
        bad = np.flatnonzero(~np.isfinite(made.frames).all(axis=(1, 2)))
        if len(bad):
            raise ValueError(f"{self.about['adapter']} gives no numbers for video {self.found.videos['video_id'][rows[bad[0]]]!r}")
        return Rows(made.video, made.frames, made.mask, np.where(mask, index / self.found.fps, 0.0))

    def _texts(self, texts: list[str]) -> np.ndarray:
        known = self.known.texts()
        new = list(dict.fromkeys(text for text in texts if text not in known))
        vectors = [np.empty((0, self.encoder.clip.embed_dim), np.float32)]
        for rows in track(cut(np.arange(len(new))), total=-(-len(new) // 64), label="encode texts"):
            vectors.append(self.encoder.texts(self.adapter, [new[row] for row in rows]))
        known |= dict(zip(new, np.concatenate(vectors), strict=True))
        made = np.stack([known[text] for text in texts]) if texts else vectors[0]
        bad = np.flatnonzero(~np.isfinite(made).all(axis=1))
        if len(bad):
            raise ValueError(f"{self.about['adapter']} gives no numbers for the text {texts[bad[0]]!r}")
        return made

    def _blocks(self) -> Iterator[Rows]:
        digests = self.found.videos["clip_sha256"]
        return (self.known.rows(digests.iloc[rows].tolist()) for rows in cut(np.arange(len(digests))))

    def _vectors(self) -> np.ndarray | None:
        """(V, E), where there are so many that they are not searched one by one."""
        if self.about["temperature"] is not None or len(self.found.videos) <= nearest.EXACT_UP_TO:
            return None
        return np.concatenate([block.video for block in self._blocks() if block.video is not None])

    def _write(
        self,
        target: Path,
        videos: pd.DataFrame,
        captions: pd.DataFrame,
        text: np.ndarray,
        *,
        search: dict[str, Any],
        blocks: Iterator[Rows],
        approximate: nearest.Approximate | None = None,
    ) -> None:
        frames, width = self.encoder.shape(self.adapter).frames.number, self.encoder.clip.embed_dim
        needed = len(videos) * (frames + 1) * (4 * width + 16) + text.nbytes
        about = self.about | {"format": store.FORMAT, "search": search, "num_videos": len(videos), "num_captions": len(captions)}
        with written(target, needed=needed) as file:
            store.put_table(file, "videos", videos, store.VIDEO_COLUMNS)
            store.put_table(file, "captions", captions, store.CAPTION_COLUMNS)
            store.put_rows(file, len(videos), blocks)
            create(file, "text", shape=text.shape, dtype=np.float32)[:] = text
            if approximate is not None and search["kind"] == "approximate":
                store.put_bytes(file, "faiss", approximate.content())
            store.put_bytes(file, "about", json.dumps(about, sort_keys=True, allow_nan=False).encode())


def _approximate(vectors: np.ndarray, text: np.ndarray) -> nearest.Approximate:
    """Measured on the gallery's own texts where there are enough, else on videos that look for others."""
    draw = np.random.default_rng(1)
    if len(text) >= nearest.QUERIES:
        return nearest.Approximate.build(vectors, text[draw.choice(len(text), nearest.QUERIES, replace=False)], queries_from="captions")
    rows = draw.choice(len(vectors), nearest.QUERIES, replace=False)
    return nearest.Approximate.build(vectors, vectors[rows], queries_from="videos", without=rows)
