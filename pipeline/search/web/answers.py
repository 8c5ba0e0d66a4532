"""Answers of the session, in the form that the page reads."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.evaluation.ranks import TIE
from pipeline.search.index import CaptionHit, Gallery, Hit
from pipeline.search.session import Session
from pipeline.search.web.asked import Refused
from pipeline.search.web.directions import turned

Answer = dict[str, Any]
LOOKED_AT = 2000  # captions among which examples are chosen
EXAMPLES = 6
SHORT = 60  # characters of an example


def opened(session: Session, name: str) -> Gallery:
    """Refused: an index that is not there (any more), or cannot be used."""
    if name in session.other:
        raise Refused(404, session.other[name])
    if name not in session.names:
        raise Refused(404, f"the index {name!r} is not there any more; choose another one, or make it again and reload the page")
    return session.gallery(name)


def row_of(gallery: Gallery, video_id: str) -> int:
    """Refused: a video that is not there (any more)."""
    places = np.flatnonzero(gallery.videos["video_id"].to_numpy() == video_id)
    if not len(places):
        raise Refused(404, f"the video {video_id!r} is not in the index {gallery.name}")
    return int(places[0])


def video(gallery: Gallery, row: int) -> Answer:
    """A video of a gallery; `row` and `sha256` are what its clip and its frames are asked for with."""
    found = gallery.videos.iloc[row]
    return {
        "row": row,
        "video": str(found["video_id"]),
        "sha256": str(found["clip_sha256"]),
        "source": str(found["source"]),
        "title": str(found["title"]),
        "start": _number(found["start"]),
        "duration": _number(found["duration"]),
    }


def videos(gallery: Gallery, hits: Sequence[Hit]) -> Answer:
    """Videos with their scores, best first. Refused: hits of another state of the index."""
    _refuse_moved(gallery.videos["video_id"], [(hit.row, hit.video_id) for hit in hits])
    return {"index": gallery.name, "hits": [video(gallery, hit.row) | {"score": hit.score, "moment": hit.moment} for hit in hits]}


def captions(gallery: Gallery, hits: Sequence[CaptionHit]) -> Answer:
    """Captions with their scores, best first, and the video that each was written for, if there is one. Refused as in `videos`."""
    _refuse_moved(gallery.captions["caption_id"], [(hit.row, hit.caption_id) for hit in hits])
    rows = [
        {"caption": hit.caption_id, "text": hit.text, "score": hit.score, "of": video(gallery, hit.video) if hit.video >= 0 else None}
        for hit in hits
    ]
    return {"index": gallery.name, "captions": rows}


def probe(session: Session, name: str, video_id: str, sentence: str) -> Answer:
    """A sentence with a video and with its frames in reverse order; which of the two scores higher, or that it cannot tell."""
    gallery = opened(session, name)
    row = row_of(gallery, video_id)
    found = session.probe(name, sentence, row)
    difference = found.forwards - found.backwards
    higher = "neither" if abs(difference) <= TIE else "forwards" if difference > 0 else "backwards"
    return {"index": name, "of": video(gallery, row), "turned": turned(sentence), "higher": higher} | asdict(found)


def index(gallery: Gallery) -> Answer:
    """Facts about an index that the page shows before a search."""
    about = gallery.about
    facts = {key: about[key] for key in ("gallery", "run", "seed", "kind", "search")}
    counts = {"videos": about["num_videos"], "captions": about["num_captions"], "skipped": len(about["skipped"])}
    return {"name": gallery.name, "backbone": about["backbone"]["name"], "examples": examples(gallery)} | facts | counts


def examples(gallery: Gallery) -> list[Answer]:
    """A few captions of the gallery, half of them with a direction of time where there are such."""
    texts = [text for text in dict.fromkeys(gallery.captions["text"].iloc[:LOOKED_AT]) if len(text) <= SHORT]
    directed = [text for text in texts if turned(text)]
    chosen = _spread(directed, EXAMPLES // 2)
    chosen += _spread([text for text in texts if not turned(text)], EXAMPLES - len(chosen))
    return [{"text": text, "directed": bool(turned(text))} for text in chosen]


def without(path: Path, sentence: str) -> str:
    """A sentence about a file that came with a request, without the path where it lies."""
    return sentence.replace(f"{path}: ", "").replace(str(path), path.name)


def _refuse_moved(ids: "pd.Series[str]", hits: Sequence[tuple[int, str]]) -> None:
    """A file may be searched while an update of the index is taken over."""
    if any(row >= len(ids) or ids.iloc[row] != name for row, name in hits):
        raise Refused(503, "the index was made anew during the search; search again")


def _spread(texts: Sequence[str], number: int) -> list[str]:
    """Up to `number` of them from all over."""
    size = min(number, len(texts))
    return [texts[i] for i in np.linspace(0, len(texts) - 1, size, dtype=int)] if size else []


def _number(value: Any) -> float | None:
    """None for what is not known."""
    return float(value) if np.isfinite(value) else None
