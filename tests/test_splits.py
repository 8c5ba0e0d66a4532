"""The policy on missing videos, and the checks of the two tables."""

import pandas as pd
import pytest

from pipeline import datasets, splits
from pipeline.params import Missing


def joined(lost):
    names = [f"{split}{i}" for split in ("train", "val", "test") for i in range(10)]
    videos = pd.DataFrame({"video_id": names, "split": [name.rstrip("0123456789") for name in names]})
    status = ["unreadable" if name in lost else "ok" for name in names]
    reports = pd.DataFrame(
        {"video_id": names[::-1], "status": status[::-1], "reason": ["cut short" if s != "ok" else "" for s in status[::-1]]}
    )
    return splits.join(videos, reports, name="motion")


def test_the_order_of_the_table_of_videos_is_kept():
    assert list(joined([])["video_id"])[:3] == ["train0", "train1", "train2"]


def test_a_share_up_to_the_limit_passes_and_the_next_video_stops_the_run_by_name():
    policy = Missing(train=0.2)
    splits.enforce(joined(["train1", "train5"]), policy=policy, name="motion")
    with pytest.raises(
        ValueError, match=r"3 of 10 train videos cannot be used .*missing.train allows a share of 0.2; the first is 'train1': cut short"
    ):
        splits.enforce(joined(["train5", "train1", "train9"]), policy=policy, name="motion")


def test_one_missing_test_video_stops_the_run_by_default():
    with pytest.raises(ValueError, match="1 of 10 test videos"):
        splits.enforce(joined(["test3"]), policy=Missing(), name="motion")


def test_a_video_without_a_report_is_an_error_not_a_smaller_split():
    videos = pd.DataFrame({"video_id": ["a", "b"], "split": ["train", "train"]})
    with pytest.raises(ValueError, match="1 videos were never transcoded, 'b' first"):
        splits.join(videos, pd.DataFrame({"video_id": ["a"], "status": ["ok"], "reason": [""]}), name="motion")


def tables():
    video = ("motion", "a", "a.mp4", "train", "videos/a.mp4", "", "", 1.0)
    caption = ("motion", "a", "a#0", 0, "a star", "train", False)
    return (
        pd.DataFrame([video, ("motion", "b", *video[2:])], columns=list(datasets.VIDEO_COLUMNS)),
        pd.DataFrame([caption, ("motion", "b", "b#0", *caption[3:])], columns=list(datasets.CAPTION_COLUMNS)),
    )


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "sentence"),
    [
        (0, 1, "video_id", "a", "1 videos listed twice: a"),
        (0, 1, "video_id", "A", "differ only in upper and lower case: A"),
        (0, 1, "split", "dev", "videos of an unknown split: b"),
        (1, 1, "video_id", "c", "1 videos without a caption: b"),
        (1, 1, "text", "  ", "1 empty captions: b#0"),
        (1, 1, "caption_id", "a#0", "1 captions listed twice: a#0"),
        (1, 1, "split", "test", "1 captions of another split than their video: b#0"),
    ],
)
def test_each_defect_of_the_tables_is_named_with_its_ids(table, row, column, value, sentence):
    pair = tables()
    datasets.check(*pair, name="motion")
    pair[table].loc[row, column] = value
    with pytest.raises(ValueError, match=sentence):
        datasets.check(*pair, name="motion")


def test_an_unknown_dataset_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"unknown dataset 'motio'; did you mean 'motion'\?"):
        datasets.load("motio")
