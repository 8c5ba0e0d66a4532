"""Training that has seen another dataset's test set: the same videos, other parts of their sources, the same sentences.

A video is known by its source's address, of which it may be a part, and by the hash of its file, of which it may be a part as well.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.reporting.card import copies, counts

YOUTUBE = re.compile(r"(?:youtube\.com/(?:watch\?(?:.*&)?v=|embed/|shorts/|v/)|youtu\.be/)([\w-]{11})")
PART = re.compile(r".+_(?P<start>\d+)_(?P<end>\d+)")  # how MSVD and VATEX name a part of an address, in seconds


class Known(NamedTuple):
    """Of the tested videos, the ids that are `same` as trained ones, and of which only `other` parts were trained on."""

    same: list[str]
    other: list[str]


def seen(trained: tuple[pd.DataFrame, pd.DataFrame], tested: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, Any]:
    """The `tested` videos and captions that are among the `trained` ones, counted."""
    found, videos = known(trained[0], tested[0]), tested[0]
    captions, said = (table.assign(key=counts.fold(table["text"])) for table in (tested[1], trained[1]))
    told = captions[captions["key"].isin(said["key"])]
    return {
        "videos": _counted(found.same, of=len(videos)),
        "sources": _counted(found.other, of=len(videos)),
        "alike": _alike(trained[0], videos[~videos["video_id"].isin(found.same)]),
        "captions": {"captions": len(told), "of": len(captions), "examples": counts.quoted(told)},
    }


def known(trained: pd.DataFrame, tested: pd.DataFrame) -> Known:
    """The tested videos that overlap with a trained one in time. Where a part is not known, it is the whole."""
    pairs = _parts(tested).merge(_parts(trained), on="key", suffixes=("", "_known"))
    overlap = (pairs["start"] < pairs["end_known"]) & (pairs["start_known"] < pairs["end"])
    same = set(pairs.loc[overlap, "video_id"])
    return Known(sorted(same), sorted(set(pairs["video_id"]) - same))


def _parts(videos: pd.DataFrame) -> pd.DataFrame:
    """Two rows a video, as far as they are known: the `key` of its address and that of its file, and the `start` and `end` there."""
    start, end = videos["start"].astype(float).fillna(-np.inf), videos["end"].astype(float).fillna(np.inf)
    named = videos["official_name"].str.extract(PART.pattern).astype(float)
    hashes = videos["src_sha256"].fillna("") if "src_sha256" in videos else ""
    rows = pd.DataFrame({"video_id": videos["video_id"], "key": "file " + hashes, "start": start, "end": end})
    pages = rows.assign(key="page " + videos["src_url"].map(_page), start=named["start"].fillna(start), end=named["end"].fillna(end))
    both = pd.concat([rows, pages], ignore_index=True)
    return both[both["key"].str.len() > len("file ")]


def _page(address: str) -> str:
    """An address as it is compared: of a YouTube video its id, of another page no scheme."""
    video = YOUTUBE.search(address)
    return video[1] if video else re.sub(r"^https?://(www\.)?", "", address).rstrip("/")


def _alike(trained: pd.DataFrame, tested: pd.DataFrame) -> dict[str, Any] | None:
    """Groups of clips that look alike (`copies.near`) and are of both; None where no clip was looked at."""
    named = [
        table.assign(split=split, src_path=split + "/" + table["src_path"]) for split, table in (("trained", trained), ("tested", tested))
    ]
    found = copies.near(pd.concat(named, ignore_index=True))
    return found and {"groups": found["across"], "first": found["first"][: found["across"]]}


def _counted(ids: list[str], *, of: int) -> dict[str, Any]:
    return {"videos": len(ids), "of": of, "first": ids[: counts.FIRST]}
