"""Facts about this copy of a dataset, from its tables: small and JSON-able. `pipeline.reporting.card.text` puts them into words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.core.layout import SPLITS, recorded
from pipeline.datasets.annotations.rows import in_split
from pipeline.datasets.annotations.splits import USABLE
from pipeline.reporting.card import copies, counts

SECONDS = (1, 2, 5, 10, 15, 20, 25, 30, 45, 60, 120, 180, 300)  # where bins of the histograms end; the last bin is open
TOKENS = (8, 12, 16, 20, 24, 32, 48, 64, 77, 128)
PAIRS = (("test", "train"), ("test", "val"), ("val", "train"))  # what the first has in common with the second makes it easier


@dataclass(frozen=True)
class Tables:
    """The tables to count. `used`: split -> its videos and captions after the policy, paragraphs joined; the rest holds all splits.

    `videos`, `captions`: as the publisher gave them; `transcoded`: `videos` with what transcoding found.
    """

    videos: pd.DataFrame
    captions: pd.DataFrame
    transcoded: pd.DataFrame
    used: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]


Count = Callable[[list[str]], Sequence[int]]


def facts(
    name: str,
    tables: Tables,
    *,
    words: int,
    count: Count,
    tokeniser: str,
    about: Mapping[str, Any],
    missing_hash: str,
    longest: float = math.inf,
) -> dict[str, Any]:
    """All facts on the card. One that was not measured, or is not known, is None.

    `words`: tokens that are read of a caption; `longest`: seconds that are read of a video; `count` gives the tokens of each caption as
    the `tokeniser` of that name makes them, start and end included, before any is cut.
    """
    captions = _measured(tables.used, count=count)
    videos = {s: _watched(rows, longest=longest) for s, (rows, _) in tables.used.items()}
    whole = tables.transcoded[tables.transcoded["status"].isin(USABLE)]
    found: dict[str, Any] = {"dataset": name, "about": dict(about), "words": words, "tokeniser": tokeniser, "missing_hash": missing_hash}
    return found | {
        "splits": {s: _split(s, tables, videos=videos[s], captions=captions[s], words=words) for s in SPLITS},
        "histograms": {
            "seconds": counts.histogram({s: videos[s]["seconds"] for s in SPLITS}, edges=SECONDS),
            "tokens": counts.histogram({s: captions[s]["tokens"] for s in SPLITS}, edges=TOKENS),
        },
        "shared": {f"{a}/{b}": _shared((videos[a], captions[a]), (videos[b], captions[b])) for a, b in PAIRS},
        "repeated_queries": counts.repeated(captions["test"]),
        "identical_files": counts.identical(whole),
        "near_copies": copies.near(whole),
        "off_duration": counts.off_duration(whole),
        "lost": [row for s in SPLITS for row in counts.lost(in_split(tables.transcoded, s), split=s)],
        "codecs": counts.top(whole["codec"]),
        "sizes": counts.top(counts.sizes(whole)),
        "licences": counts.top(tables.videos["licence"]),
    }


def _measured(used: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], *, count: Count) -> dict[str, pd.DataFrame]:
    """split -> its captions with their folded text as `key`, and their `words` and `tokens`."""
    texts = pd.concat([captions["text"] for _, captions in used.values()]).unique().tolist()
    tokens = dict(zip(texts, count(texts), strict=True))
    return {
        split: captions.assign(key=counts.fold(text), words=text.str.split().str.len(), tokens=text.map(tokens))
        for split, captions, text in ((split, captions, captions["text"]) for split, (_, captions) in used.items())
    }


def _watched(videos: pd.DataFrame, *, longest: float) -> pd.DataFrame:
    """The videos with the `seconds` of them that are used, and their `source`."""
    return videos.assign(seconds=counts.seconds(videos).clip(upper=longest), source=counts.sources(videos))


def _split(split: str, tables: Tables, *, videos: pd.DataFrame, captions: pd.DataFrame, words: int) -> dict[str, Any]:
    """One split: what was annotated, what is used of it, and what is odd about it."""
    annotated, published = in_split(tables.videos, split), in_split(tables.captions, split)
    status = in_split(tables.transcoded, split)["status"]
    cut = int((captions["tokens"] > words).sum())
    known = videos["seconds"].dropna()
    return {
        "annotated": {"videos": len(annotated), "sentences": len(published)},
        "videos": len(videos),
        "captions": len(captions),
        "sentences": int(tables.captions["video_id"].map(recorded).isin(videos["video_id"]).sum()),
        "hours": round(float(known.sum()) / 3600, 4) if len(known) else None,
        "captions_per_video": counts.extent(videos["video_id"].map(captions["video_id"].map(recorded).value_counts()).fillna(0)),
        "words": counts.spread(captions["words"]),
        "tokens": counts.spread(captions["tokens"]),
        "truncated": {"captions": cut, "share": round(cut / len(captions), 6)} if len(captions) else None,
        "status": {state: int((status == state).sum()) for state in ("ok", *counts.DEFECTS)},
        "pictures": counts.pictures(videos),
        "text": counts.text(published),
    }


def _shared(one: tuple[pd.DataFrame, pd.DataFrame], other: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, Any]:
    """Overlap of `one` split with the `other`: videos in both, and of the videos that are not, sources and captions."""
    videos, captions = one
    both = videos["video_id"].isin(other[0]["video_id"])
    videos, captions = videos[~both], captions[~captions["video_id"].map(recorded).isin(other[0]["video_id"])]
    known = [set(rows["source"]) - {""} for rows in (videos, other[0])]
    same, told = videos[videos["source"].isin(known[1])], captions[captions["key"].isin(other[1]["key"])]
    return {
        "videos": int(both.sum()),
        "sources": {"videos": len(same), "of": len(videos), "first": counts.first(same["video_id"])} if all(known) else None,
        "captions": {"captions": len(told), "of": len(captions), "examples": counts.quoted(told)},
    }
