"""What is left of each split after transcoding: failures are rows with a reason, and a policy decides."""

from typing import cast

import pandas as pd

from pipeline.datasets import SPLITS
from pipeline.params import Missing

USABLE = ("ok", "degraded")


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
    """ValueError if a split lost a larger share of its videos than the policy allows."""
    for split in SPLITS:
        rows = joined[joined["split"] == split]
        lost = missing(rows)
        allowed = float(getattr(policy, split))
        if len(lost) > allowed * len(rows):
            first = lost.iloc[0]
            raise ValueError(
                f"{name}: {len(lost)} of {len(rows)} {split} videos cannot be used and datasets.{name}.missing.{split} allows a share of "
                f"{allowed}; the first is {first.video_id!r}: {first.reason}. Mend or exclude them, or raise the share"
            )
