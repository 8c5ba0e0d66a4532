"""Counts of one table of videos or captions of a dataset: lengths, defects, copies. `facts` puts them together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

DEFECTS = ("missing", "unreadable", "degraded", "excluded")
CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
RATIO = r"[1-9]\d*:[1-9]\d*"
HDR = r"smpte2084|arib-std-b67"
UNSAID = r"(?:|\d+|gbr)"  # matrices of pictures of luma and chroma that say nothing: none, without a name, or that of RGB
YUV = r"(?:yuv|yuyv|uyvy|nv|p\d|y\d).*"
NAMED, FIRST, EXAMPLES, GROUPS = 20, 5, 3, 10  # lost ids, other ids, captions, and kinds that are named; the rest is only counted
LONGEST = 120  # characters of a caption that is quoted
TOLERANCE = 1.0  # seconds between an annotated and a measured duration


def fold(text: pd.Series) -> pd.Series:
    """Text as duplicates are found by: in lower case, every run of blanks one blank, none at the ends."""
    return text.str.lower().str.split().str.join(" ")


def seconds(videos: pd.DataFrame) -> pd.Series:
    """Seconds of each video in its file, `start` to `end`: measured, else as annotated; NaN if nothing is known."""
    start, end, measured, late = (videos[key].astype(float) for key in ("start", "end", "duration", "late"))
    late = late.fillna(0.0)
    part = (np.fmin(end, measured + late) - np.fmax(start, late)).clip(lower=0.0)
    return part.where(measured.notna(), videos["anno_duration"].astype(float).fillna(part))


def sources(videos: pd.DataFrame) -> pd.Series:
    """The source of each video: its address, else the file that it is a part of; "" if neither is known."""
    segment = videos["start"].notna() | videos["end"].notna()
    return videos["src_url"].where(videos["src_url"] != "", videos["src_path"].where(segment, ""))


def extent(values: pd.Series) -> dict[str, float] | None:
    """Smallest, mean and largest; None of nothing."""
    return {"min": int(values.min()), "mean": round(float(values.mean()), 2), "max": int(values.max())} if len(values) else None


def spread(values: pd.Series) -> dict[str, float] | None:
    """Mean, largest, and what 95 and 99 in a hundred values do not exceed; None of nothing."""
    if values.empty:
        return None
    p95, p99 = np.percentile(values.astype(int), [95, 99], method="inverted_cdf")
    return {"mean": round(float(values.mean()), 2), "p95": int(p95), "p99": int(p99), "max": int(values.max())}


def histogram(values: Mapping[str, pd.Series], *, edges: Sequence[int]) -> dict[str, Any]:
    """split -> how many values are in each bin, which ends with its edge; the last bin is open, and what is unknown is in none."""
    bins = {split: np.searchsorted(edges, column.dropna().astype(float)) for split, column in values.items()}
    return {"edges": list(edges), "counts": {split: np.bincount(found, minlength=len(edges) + 1).tolist() for split, found in bins.items()}}


def pictures(videos: pd.DataFrame) -> dict[str, int] | None:
    """How many videos are shown upright, stored turned, of pixels that are not square, interlaced, HDR, or silent about their colours.

    None if no file was looked at.
    """
    if not videos["width"].notna().any():
        return None
    ratio = videos["sar"].where(videos["sar"].fillna("").str.fullmatch(RATIO), "1:1").str.split(":", expand=True).astype(float)
    wide, high, angle = videos["width"] * ratio[0], videos["height"] * ratio[1], videos["rotation"].fillna(0)
    portrait = (high > wide).where(angle % 180 != 90, wide > high)
    return {
        "portrait": int(portrait.sum()),
        "rotated": int((angle % 360 != 0).sum()),
        "oblong_pixels": int((ratio[0] != ratio[1]).sum()),
        "interlaced": int(videos["field_order"].isin(["tff", "bff"]).sum()),
        "hdr": int(videos["transfer"].fillna("").str.contains(HDR).sum()),
        "guessed_colours": int((videos["matrix"].fillna("").str.fullmatch(UNSAID) & videos["pix_fmt"].fillna("").str.fullmatch(YUV)).sum()),
    }


def text(captions: pd.DataFrame) -> dict[str, int]:
    """Defects of sentences. `repeated`: those that an earlier one of the same video says already."""
    column, trimmed = captions["text"], captions["text"].str.strip()
    found = {
        "empty": trimmed == "",
        "non_ascii": ~column.map(str.isascii).astype(bool),
        "control": column.str.contains(CONTROL),
        "edge_blanks": column != trimmed,
        "double_blanks": column.str.contains(r"\s\s"),
        "repeated": captions.assign(key=fold(column)).duplicated(["video_id", "key"]),
    }
    return {name: int(rows.sum()) for name, rows in found.items()}


def repeated(captions: pd.DataFrame) -> dict[str, Any]:
    """Captions whose `key` is another one's as well, in how many groups; `ambiguous`: those of them that name another video, too."""
    groups = captions.groupby("key")["video_id"].agg(["size", "nunique"])
    several = captions[captions["key"].map(groups["size"]) > 1]
    ambiguous = several["key"].map(groups["nunique"]) > 1
    found = {"captions": len(several), "groups": int((groups["size"] > 1).sum()), "ambiguous": int(ambiguous.sum())}
    return found | {"of": len(captions), "examples": quoted(several)}


def identical(videos: pd.DataFrame) -> dict[str, Any] | None:
    """Groups of files that are equal byte for byte, in one split or in several; None if no file was hashed."""
    hashed = videos[videos["src_sha256"].fillna("") != ""]
    if hashed.empty:
        return None
    hashed = hashed.assign(file=hashed["src_path"].where(hashed["src_path"] != "", hashed["fetch_url"]))
    copied = hashed[hashed.groupby("src_sha256")["file"].transform("nunique") > 1]  # parts of one file are no copies
    groups = sorted((bool(g["split"].nunique() == 1), sorted(g["video_id"])) for _, g in copied.groupby("src_sha256"))
    across = sum(not alone for alone, _ in groups)
    return {"within": len(groups) - across, "across": across, "first": [ids[:EXAMPLES] for _, ids in groups[:GROUPS]]}


def off_duration(videos: pd.DataFrame) -> dict[str, Any] | None:
    """Videos whose annotated duration is not that of what is used of the file; None if no video has both."""
    both = videos[videos["anno_duration"].notna() & videos["duration"].notna()]
    off = both[(seconds(both) - both["anno_duration"]).abs() > TOLERANCE]
    return {"videos": len(off), "of": len(both), "first": first(off["video_id"])} if len(both) else None


def lost(videos: pd.DataFrame, *, split: str) -> list[dict[str, Any]]:
    """For each defect of the videos of a split its most frequent reasons, with the first ids."""
    found = []
    for state in DEFECTS:
        groups = videos[videos["status"] == state].fillna({"reason": ""}).groupby("reason")["video_id"]
        rows = sorted((-len(ids), reason, first(ids, number=NAMED)) for reason, ids in groups)[:GROUPS]
        found += [{"split": split, "status": state, "reason": reason, "videos": -n, "first": ids} for n, reason, ids in rows]
    return found


def sizes(videos: pd.DataFrame) -> pd.Series:
    """Width and height as stored: 320x240."""
    known = videos[["width", "height"]].dropna().astype(int).astype(str)
    return known["width"] + "x" + known["height"]


def top(values: pd.Series) -> dict[str, Any]:
    """The most frequent values, and how many rows have another one; those that say nothing are `unknown`."""
    known = values[values.fillna("") != ""]
    counts = ((str(value), int(number)) for value, number in known.value_counts().items())
    counted = sorted(counts, key=lambda item: (-item[1], item[0]))
    named = [list(item) for item in counted[:GROUPS]]
    others = sum(number for _, number in counted[GROUPS:])
    return {"named": named, "others": others, "unknown": len(values) - len(known)}


def first(ids: pd.Series, *, number: int = FIRST) -> list[str]:
    """The first ids in the order of the alphabet."""
    return sorted(map(str, ids))[:number]


def quoted(captions: pd.DataFrame) -> list[str]:
    """The first few different texts, cut where they are long."""
    texts = captions.drop_duplicates("key")["text"].head(EXAMPLES)
    return [" ".join(caption.split())[:LONGEST] for caption in texts]
