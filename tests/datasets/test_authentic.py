"""Every published number, from the publishers' own files, where they are at hand."""

import functools
import re

import pandas as pd
import pytest

from pipeline import datasets
from pipeline.config.dataset import Dataset
from pipeline.core import textfile
from pipeline.datasets import activitynet, didemo, msrvtt, msvd
from pipeline.datasets.annotations import reading, rows, splits
from pipeline.datasets.annotations.rows import in_split

CASES = [("msrvtt", variant, validation) for variant in msrvtt.VARIANTS for validation in ("clean", "paper")] + [
    ("msvd", "", "clean"),
    ("activitynet", "val_1", "clean"),
    ("activitynet", "val_1", "paper"),
    ("activitynet", "val_2", "clean"),
]


@pytest.fixture(scope="module", autouse=True)
def _read_once():
    """The annotations of MSR-VTT, which ten settings read; nothing changes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msrvtt, "_published", functools.cache(msrvtt._published))
        yield


@functools.cache
def tables(authentic, name, **settings):
    entry = Dataset(videos="a folder", **settings)
    source = datasets.load(name, entry)
    videos, captions = source.tables(authentic / name, entry, name)
    datasets.check(videos, captions, name=name)
    return source, entry, videos, captions


@pytest.mark.parametrize(("name", "variant", "validation"), CASES)
def test_the_tables_have_the_published_numbers(authentic, name, variant, validation):
    source, entry, videos, captions = tables(authentic, name, variant=variant, validation=validation)
    assert rows.refuse_other_counts(name, videos, captions, expected=source.expected(entry), strict=True) == []
    test, train = (set(in_split(videos, split)["video_id"]) for split in ("test", "train"))
    assert not test & train
    val = set(in_split(videos, "val")["video_id"])
    assert not val & test
    assert bool(val & train) == (validation == "paper" and variant != "full")


@pytest.mark.parametrize(
    ("name", "settings", "train", "val", "test"),
    [
        ("msrvtt", {"variant": "9k", "validation": "paper"}, (9000, 180000), (497, 9940), (1000, 1000)),
        ("msrvtt", {"variant": "9k"}, (8503, 170060), (497, 9940), (1000, 1000)),
        ("msrvtt", {"variant": "7k", "validation": "paper"}, (7010, 140200), (497, 9940), (1000, 1000)),
        ("msrvtt", {"variant": "full"}, (6513, 130260), (497, 9940), (2990, 59800)),
        ("msrvtt", {"variant": "1kB", "validation": "paper"}, (6656, 133120), (360, 7200), (1000, 20000)),
        ("msvd", {}, (1200, 48774), (100, 4290), (670, 27763)),
        ("didemo", {"counts": "report"}, (8362, 8362), (1065, 4109), (1004, 3932)),
        ("didemo", {"counts": "report", "variant": "merged"}, (8362, 8362), (1065, 4180), (1004, 4021)),
        ("activitynet", {"validation": "paper"}, (10009, 37421), (500, 1937), (4917, 17505)),
        ("activitynet", {"variant": "val_2"}, (9509, 35484), (500, 1937), (4885, 17031)),
    ],
)
def test_each_split_has_the_videos_and_sentences_of_the_specification(authentic, name, settings, train, val, test):
    _, _, videos, captions = tables(authentic, name, **settings)
    found = [(len(in_split(videos, split)), len(in_split(captions, split))) for split in ("train", "val", "test")]
    assert found == [train, val, test]


def test_1k_a_shares_no_clip_with_training_but_372_sources_and_107_sentences(authentic):
    _, _, videos, captions = tables(authentic, "msrvtt", variant="9k", validation="paper")
    train, test = in_split(videos, "train"), in_split(videos, "test")
    assert test["src_url"].isin(train["src_url"]).sum() == 372
    assert len(set(train["video_id"]) | set(test["video_id"])) == 10000
    texts = {split: in_split(captions, split)["text"] for split in ("train", "test")}
    assert texts["test"].isin(set(texts["train"])).sum() == 107
    of7k = in_split(tables(authentic, "msrvtt", variant="7k", validation="paper")[2], "train")
    assert test["src_url"].isin(of7k["src_url"]).sum() == 0


def test_the_sentences_of_1k_a_are_captions_of_their_clips_but_for_blanks_and_punctuation(authentic):
    published, sentences = msrvtt._published(authentic / "msrvtt", "msrvtt")
    assert (len(published), sum(map(len, sentences.values()))) == (10000, 200000)
    chosen = msrvtt._one_sentence(authentic / "msrvtt" / "MSRVTT_JSFUSION_test.csv", "msrvtt")

    def found(fold):
        return sum(fold(text) in {fold(caption) for _, caption in sentences[video]} for video, [(_, text)] in chosen.items())

    # 35 differ from the published caption, 12 of them in more than blanks, so a test sentence is never looked up by its text.
    assert found(str) == 965
    assert found(lambda text: " ".join(text.split())) == 988
    assert found(lambda text: " ".join(re.findall(r"\w+", text))) == 1000


def test_the_lists_of_7k_and_9k_are_what_is_derived_without_them(authentic, tmp_path):
    for name in ("train_val_annotation.zip", "test_videodatainfo.json.zip", "MSRVTT_JSFUSION_test.csv"):
        (tmp_path / name).symlink_to(authentic / "msrvtt" / name)
    for variant in ("7k", "9k"):
        settings = Dataset(variant=variant)
        derived, listed = (msrvtt.tables(folder, settings, "msrvtt")[0] for folder in (tmp_path, authentic / "msrvtt"))
        assert dict(zip(derived["video_id"], derived["split"], strict=True)) == dict(zip(listed["video_id"], listed["split"], strict=True))


def test_msvd_takes_clips_of_a_source_into_one_split_only(authentic):
    _, _, videos, _ = tables(authentic, "msvd")
    test, train = in_split(videos, "test"), in_split(videos, "train")
    assert not set(test["src_url"]) & set(train["src_url"])
    assert (test["src_url"].nunique(), train["src_url"].nunique()) == (522, 882)
    assert videos["video_id"].str.startswith("-").sum() == 46
    assert videos["anno_duration"].between(2, 60).all() and round(videos["anno_duration"].mean(), 2) == 9.72


def test_didemo_has_33_and_29_second_names(authentic, capsys):
    tables.__wrapped__(authentic, "didemo", counts="report")
    said = capsys.readouterr().out
    assert "test: 33 videos have a second name" in said and "val: 29 videos have a second name" in said


def test_didemo_complains_of_descriptions_that_are_missing_unless_told_to_report(authentic):
    with pytest.raises(ValueError, match="30 videos without a caption"):
        tables(authentic, "didemo")


def test_each_video_of_didemo_has_a_licence_and_all_but_some_a_hash(authentic):
    entry = Dataset(counts="report")
    videos, _ = didemo.tables(authentic / "didemo", entry, "didemo")
    assert set(videos["licence"]) == {f"CC {kind} 2.0" for kind in ("BY", "BY-NC", "BY-SA", "BY-ND", "BY-NC-SA", "BY-NC-ND")}
    assert videos["fetch_url"].ne("").mean() > 0.999
    assert videos["fetch_url"].iloc[0].startswith("https://multimedia-commons.s3-us-west-2.amazonaws.com/data/videos/mp4/")
    assert videos["official_name"].str.endswith(".").sum() > 150


def test_paragraphs_are_the_sentences_joined_and_one_a_video(authentic):
    for name, number in (("activitynet", 4917), ("didemo", 1004)):
        _, _, videos, captions = tables(authentic, name, counts="report")
        joined = in_split(splits.paragraphs(captions), "test")
        assert len(joined) == number and not joined["video_id"].duplicated().any()
        first = joined.iloc[0]
        sentences = captions[captions["video_id"] == first["video_id"]]["text"]
        assert first["text"] == " ".join(sentences)
        assert list(joined["video_id"]) == list(in_split(videos, "test")["video_id"])


def test_joined_descriptions_are_the_paragraphs_that_others_made(authentic):
    _, _, _, captions = tables(authentic, "didemo", counts="report")
    ours = in_split(splits.paragraphs(captions), "test").set_index("video_id")["text"]
    theirs = {
        didemo.file_key(row["video_path"].rsplit("/", 1)[1]): row["text"]
        for _, row in reading.table(authentic / "didemo" / "didemo_test_label.csv", columns=["video_path", "text"])
    }
    assert {video: text.split() for video, text in ours.items()} == {video: text.split() for video, text in theirs.items()}


def test_activitynet_ids_are_known_by_their_lists_with_and_without_v(authentic):
    _, _, videos, _ = tables(authentic, "activitynet", validation="paper")
    listed = {
        activitynet.file_key(name)
        for split in ("train", "val_1")
        for name in textfile.lines(authentic / "activitynet" / f"{split}_list.txt")
    }
    assert listed == set(videos["video_id"])
    assert videos["video_id"].str.len().eq(11).all() and videos["video_id"].str.startswith("-").sum() > 200


def test_a_list_without_its_last_line_is_named_with_numbers_and_ids(authentic, tmp_path):
    for path in (authentic / "msvd").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    test = (tmp_path / "test_list.txt").read_text().splitlines()
    (tmp_path / "test_list.txt").write_text("\n".join(test[:-1]))
    with pytest.raises(ValueError, match=f"msvd: 1 clips have captions and are in no list: {test[-1]}"):
        msvd.tables(tmp_path, Dataset(), "msvd")


def test_a_test_set_that_lost_a_clip_is_refused_with_both_numbers(authentic):
    source, entry, videos, captions = tables(authentic, "msvd")
    lost = videos[videos["split"] == "test"]["video_id"].iloc[-1]
    cut: list[pd.DataFrame] = [table[table["video_id"] != lost] for table in (videos, captions)]
    with pytest.raises(ValueError, match=r"msvd: test has 669 videos, and 670 were published; .*test has 277\d\d captions, and 27763 were"):
        rows.refuse_other_counts("msvd", *cut, expected=source.expected(entry), strict=True)
