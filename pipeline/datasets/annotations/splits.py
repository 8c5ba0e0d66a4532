"""Splits after transcoding: failures are rows with a reason, and a policy decides what is left."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pandas as pd

from pipeline.config.dataset import Missing
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import reading
from pipeline.datasets.annotations.rows import CAPTION_COLUMNS, in_split, listed

USABLE = ("ok", "degraded")


def held_out(videos: Iterable[str], number: int) -> set[str]:
    """So many of the training videos for validation, chosen by a hash of their id, where the publisher has no list of them."""
    return set(sorted(videos, key=lambda video: hashlib.sha256(video.encode()).digest())[:number])


def exclude(videos: pd.DataFrame, file: Path, *, name: str) -> pd.DataFrame:
    """The table with the reason why a video is left out, from a reviewed TSV with the columns video_id and reason.

    ValueError for a video that is not in the dataset, is there twice or has no reason.
    """
    if not file.is_file():
        raise ValueError(f"datasets.{name}.exclude: there is no file {str(file)!r}")
    reasons: dict[str, str] = {}
    for line, row in reading.table(file, columns=["video_id", "reason"], delimiter="\t"):
        if not row["reason"].strip() or row["video_id"] in reasons:
            raise ValueError(f"{file}: line {line}: {row['video_id']!r} has no reason or is there twice")
        reasons[row["video_id"]] = row["reason"].strip()
    strangers = sorted(set(reasons) - set(videos["video_id"]))
    if strangers:
        raise ValueError(f"{file}: {len(strangers)} videos are not in {name}: {listed(strangers[:3])}")
    return videos.assign(excluded=videos["video_id"].map(reasons).fillna(""))


def join(videos: pd.DataFrame, reports: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """The table of videos with what transcoding found, in the order of `videos`. ValueError for a video without a report."""
    unknown = sorted(set(videos["video_id"]) - set(reports["video_id"]))
    if unknown:
        raise ValueError(f"{name}: {len(unknown)} videos were never transcoded, {unknown[0]!r} first; run rule transcode again")
    return videos.merge(reports, on="video_id", how="left", validate="one_to_one")


def missing(joined: pd.DataFrame) -> pd.DataFrame:
    """The videos without a usable clip: video_id, split, status, reason."""
    lost = joined.loc[~joined["status"].isin(USABLE), ["video_id", "split", "status", "reason"]]
    return cast(pd.DataFrame, lost.sort_values("video_id").reset_index(drop=True))


def enforce(joined: pd.DataFrame, *, policy: Missing, name: str) -> None:
    """ValueError if a split lost a larger share of its videos than the policy allows, or all. Excluded videos are none of it."""
    for split in SPLITS:
        rows = in_split(joined[joined["status"] != "excluded"], split)
        lost = missing(rows)
        allowed = float(getattr(policy, split))
        if len(lost) > allowed * len(rows):
            first = lost.iloc[0]
            raise ValueError(
                f"{name}: {len(lost)} of {len(rows)} {split} videos cannot be used and datasets.{name}.missing.{split} allows a share of "
                f"{allowed}; the first is {first.video_id!r}: {first.reason}. Mend or exclude them, or raise the share"
            )
        if len(lost) == len(rows):
            raise ValueError(f"{name}: no {split} video is left")


def paragraphs(captions: pd.DataFrame) -> pd.DataFrame:
    """The sentences of each paragraph joined by blanks, in their order, to one caption named after the paragraph (CLIP4Clip, sec. 4.1)."""
    single, rows = captions[captions["paragraph_id"] == ""], captions[captions["paragraph_id"] != ""]
    groups = rows.sort_values("order", kind="stable").groupby("paragraph_id", sort=False)
    whole = {"dataset": "first", "video_id": "first", "text": " ".join, "split": "first", "directed": "any"}
    joined = groups.agg(whole | {"action": _common}).reset_index()
    joined = joined.assign(order=0, caption_id=joined["paragraph_id"] + "#paragraph")
    return pd.concat([single, joined[list(CAPTION_COLUMNS)]], ignore_index=True)


def _common(actions: "pd.Series[str]") -> str:
    """The one kind of action that the sentences of a paragraph name, "" for none or several."""
    found = {*actions} - {""}
    return "".join(found) if len(found) == 1 else ""
