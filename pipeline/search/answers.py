"""Results of a search, as plain values and as a table for a terminal."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.parse import refuse_unknown
from pipeline.search.index import Gallery
from pipeline.search.session import Session

Row = dict[str, Any]
NEAR = 2000  # names that are compared with a mistyped one


@dataclass(frozen=True)
class Answer:
    """The rows that one index gives: `hits` are videos, or texts where a video was asked about with `captions`."""

    index: str
    about: dict[str, Any]
    hits: list[Row]

    def json(self) -> Row:
        """Keys as in docs/search.md."""
        about = {key: self.about[key] for key in ("gallery", "run", "seed", "num_videos", "num_captions", "search")}
        return about | {
            "index": self.index,
            "backbone": self.about["backbone"]["name"],
            "skipped": len(self.about["skipped"]),
            "hits": self.hits,
        }


def choose(there: Sequence[str], *, wanted: Sequence[str], gallery: str | None, method: str) -> list[str]:
    """Names of the indexes to search: those that are `wanted`, whole or by their run; else that of the `method`, or the only one."""
    galleries = sorted({name.split("/")[0] for name in there})
    if gallery is not None:
        refuse_unknown(gallery, galleries, what="there is no gallery", there="there are")
    known = [name for name in there if gallery in (None, name.split("/")[0])]
    if wanted:
        return list(dict.fromkeys(_one(known, name) for name in wanted))
    if gallery is None and len(galleries) > 1:
        raise ValueError(f"there are {len(galleries)} galleries, {', '.join(galleries)}; choose one with --gallery")
    own = [name for name in known if name.split("/")[2] == method] or known
    if len(own) > 1:
        raise ValueError(f"there are {len(own)} indexes, {', '.join(own)}; choose with --index")
    return own


def _one(known: Sequence[str], wanted: str) -> str:
    fitting = [name for name in known if name == wanted] or [name for name in known if f"/{wanted}/" in f"/{name}/"]
    if not fitting:
        runs = sorted({name.split("/")[2] for name in known})
        refuse_unknown(wanted, [*known, *runs], what="there is no index", there="there are")
    if len(fitting) > 1:
        raise ValueError(f"{wanted!r} could be {' or '.join(fitting)}; write the whole name, or choose with --gallery")
    return fitting[0]


def find(gallery: Gallery, video: str) -> int | Path:
    """The row of a video of the gallery, given by its id or path, or the path of a file from elsewhere. ValueError if it is neither."""
    table = gallery.videos
    path = os.path.normpath(gallery.home / video)
    for row, (video_id, source) in enumerate(zip(table["video_id"], table["source"], strict=True)):
        if video in (video_id, source) or os.path.normpath(gallery.home / source) == path:
            return row
    if Path(video).is_file():
        return Path(video)
    # Too many to list them, as for other names.
    near = difflib.get_close_matches(video, [*table["video_id"][:NEAR], *table["source"][:NEAR]], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"there is no video {video!r}; {hint}{gallery.name} has {len(table)}, or give a file")


def videos(session: Session, names: Sequence[str], asked: str | None, like: str | None, k: int) -> list[Answer]:
    """For each index the videos that fit a sentence, or are like a video, with the rank that the other indexes give them."""
    keys = {name: asked if asked is not None else find(session.gallery(name), like or "") for name in names}
    ranks = {name: _ranks(session, name, keys[name]) for name in names} if len(names) > 1 else {}
    answers = []
    for name in names:
        gallery, rows = session.gallery(name), []
        for rank, hit in enumerate(session.search(name, keys[name], k), start=1):
            video = gallery.videos.iloc[hit.row]
            others = {other: found.get(hit.video_id) for other, found in ranks.items() if other != name}
            row = {
                "rank": rank,
                "score": hit.score,
                "video_id": hit.video_id,
                "file": video["source"],
                "moment": video["start"] + hit.moment,
            }
            rows.append(row | {"clip": str(gallery.clip(hit.row)), "clip_moment": hit.moment, "title": video["title"], "ranks": others})
        answers.append(Answer(name, gallery.about, rows))
    return answers


def texts(session: Session, names: Sequence[str], video: str, k: int) -> list[Answer]:
    """For each index the texts that fit a video."""
    answers = []
    for name in names:
        gallery, rows = session.gallery(name), []
        key = find(gallery, video)
        for rank, hit in enumerate(session.captions(name, key, k), start=1):
            of = gallery.videos["video_id"][hit.video] if hit.video >= 0 else None
            own = isinstance(key, int) and hit.video == key
            rows.append({"rank": rank, "score": hit.score, "caption_id": hit.caption_id, "text": hit.text, "video_id": of, "own": own})
        answers.append(Answer(name, gallery.about, rows))
    return answers


def _ranks(session: Session, name: str, key: str | int | Path) -> dict[str, int]:
    """video_id -> its place among all videos of an index; equal scores have the best place of theirs."""
    scores = session.scores(name, key)
    places = 1 + len(scores) - np.searchsorted(np.sort(scores), scores, side="right")
    return dict(zip(session.gallery(name).videos["video_id"], places.tolist(), strict=True))
