"""The policy on missing videos, and the checks of the two tables."""

import pandas as pd
import pytest

from pipeline import datasets
from pipeline.config.dataset import Dataset, Missing
from pipeline.datasets.annotations import splits
from pipeline.datasets.annotations.rows import BOTH, Caption, Video, in_split, tables


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


def pair():
    videos = [Video(name, f"{name}.mp4", "train") for name in "ab"]
    return tables("motion", videos, [Caption(name, f"{name}#0", 0, "a star", "train") for name in "ab"])


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "sentence"),
    [
        (0, 1, "video_id", "a", "1 videos listed twice: a"),
        (0, 1, "video_id", "A", "differ only in upper and lower case: A"),
        (0, 1, "split", "dev", "videos of an unknown split: b"),
        (1, 1, "video_id", "c", "1 videos without a caption: b"),
        (1, 1, "text", "  ", "1 empty captions: b#0"),
        (1, 1, "text", "\u200b\ufeff", "1 empty captions: b#0"),
        (1, 1, "caption_id", "a#0", "1 captions listed twice: a#0"),
        (1, 1, "split", "test", "1 captions of another split than their video: b#0"),
    ],
)
def test_each_defect_of_the_tables_is_named_with_its_ids(table, row, column, value, sentence):
    made = pair()
    datasets.check(*made, name="motion")
    made[table].loc[row, column] = value
    with pytest.raises(ValueError, match=sentence):
        datasets.check(*made, name="motion")


def test_an_unknown_dataset_or_variant_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"unknown dataset 'motio'; did you mean 'motion'\?"):
        datasets.load("motio", Dataset())
    with pytest.raises(ValueError, match="datasets.msrvtt.variant is '8k'; there are: 9k, 7k, full, 1kB"):
        datasets.load("msrvtt", Dataset(variant="8k"))


def test_a_video_of_train_and_val_is_in_both_and_counts_for_both():
    table = joined([])
    table.loc[table["video_id"] == "train3", ["split", "status", "reason"]] = [BOTH, "missing", "gone"]
    assert [(in_split(table, split)["video_id"] == "train3").sum() for split in ("train", "val", "test")] == [1, 1, 0]
    splits.enforce(table, policy=Missing(train=0.1, val=0.1), name="motion")
    with pytest.raises(ValueError, match="1 of 11 val videos cannot be used"):
        splits.enforce(table, policy=Missing(train=0.1), name="motion")


def listed(tmp_path, text):
    (tmp_path / "exclude.tsv").write_text(text)
    return splits.exclude(pair()[0], tmp_path / "exclude.tsv", name="motion")


def test_an_excluded_video_keeps_its_reason_and_does_not_count_against_the_policy(tmp_path):
    assert list(listed(tmp_path, "video_id\treason\nb\tblack from start to end\n")["excluded"]) == ["", "black from start to end"]
    table = joined([])
    table.loc[table["video_id"] == "test3", ["status", "reason"]] = ["excluded", "black"]
    splits.enforce(table, policy=Missing(), name="motion")
    assert list(splits.missing(table)["video_id"]) == ["test3"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("video_id\treason\nc\tbad\n", "exclude.tsv: 1 videos are not in motion: c"),
        ("video_id\treason\na\t \n", "line 2: 'a' has no reason"),
        ("video_id\treason\na\tx\na\ty\n", "line 3: 'a' has no reason or is there twice"),
        ("video\treason\na\tx\n", "there is no column 'video_id'"),
    ],
)
def test_a_mistake_in_the_list_of_excluded_videos_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        listed(tmp_path, text)


def test_a_split_that_lost_all_its_videos_stops_the_run_whatever_the_policy():
    with pytest.raises(ValueError, match="no val video is left"):
        splits.enforce(joined([f"val{n}" for n in range(10)]), policy=Missing(val=1.0), name="motion")


def test_sentences_of_a_paragraph_are_joined_in_their_order_and_others_stay():
    rows = [Caption("a", "a#1", 1, "it stops", "test", paragraph_id="a"), Caption("b", "b#0", 0, "a star", "test")]
    rows += [Caption("a", "a#0", 0, "a dog ", "test", directed=True, action="moves", paragraph_id="a")]
    joined_ = splits.paragraphs(tables("x", [], rows)[1])
    assert dict(zip(joined_["caption_id"], joined_["text"], strict=True)) == {"b#0": "a star", "a#paragraph": "a dog  it stops"}
    assert dict(zip(joined_["caption_id"], joined_["directed"], strict=True)) == {"b#0": False, "a#paragraph": True}
    assert dict(zip(joined_["caption_id"], joined_["action"], strict=True)) == {"b#0": "", "a#paragraph": "moves"}
    rows += [Caption("a", "a#2", 2, "and grows", "test", directed=True, action="sizes", paragraph_id="a")]
    assert splits.paragraphs(tables("x", [], rows)[1])["action"].tolist() == ["", ""], "not of one kind"
    assert list(joined_.columns) == list(rows_columns())


def rows_columns():
    return tables("x", [], [])[1].columns
