"""VATEX in small files of its publisher's form, and the lists of others that divide them."""

import json
import math

import pytest

from pipeline import datasets
from pipeline.config.dataset import Dataset
from pipeline.datasets import vatex
from pipeline.datasets.annotations import rows
from pipeline.datasets.annotations.rows import in_split


def name(number, start=3):
    return f"{number:011d}_{start:06d}_{start + 10:06d}"


def entry(clip, texts=None):
    said = texts or [f"sentence {n}" for n in range(10)]
    return {"videoID": clip, "enCap": said, "chCap": [f"\u53e5{text}" for text in said]}


def write(folder, train=range(8), test=range(100, 104), lists=None, **entries):
    files = {vatex.TRAIN: [entry(name(n)) for n in train], vatex.TEST: [entry(name(n)) for n in test]}
    for file, content in files.items():
        (folder / file).write_text(json.dumps(entries.get("content", content) if file == vatex.TEST else content))
    for file, numbers in zip(vatex.LISTS, lists or (train, [*test][::2], [*test][1::2]), strict=True):
        (folder / file).write_text("".join(f"{name(n)}\n" for n in numbers))
    return folder


def splits(videos):
    return [len(in_split(videos, split)) for split in ("train", "val", "test")]


def test_official_holds_training_videos_out_and_tests_on_the_validation_set(tmp_path, monkeypatch):
    monkeypatch.setattr(vatex, "HELD_OUT", 2)
    write(tmp_path)
    for validation, numbers in (("clean", [6, 2, 4]), ("paper", [8, 2, 4])):
        videos, captions = vatex.tables(tmp_path, Dataset(validation=validation), "vatex")
        datasets.check(videos, captions, name="vatex")
        assert splits(videos) == numbers and len(captions) == 120


def test_hgr_takes_the_lists_and_each_variant_its_language(tmp_path):
    write(tmp_path)
    (tmp_path / vatex.LISTS[2]).write_text(f"{name(101)}.mp4\n\n{name(103)} 10\n")
    for variant, first in (("hgr", "sentence 0"), ("hgr_zh", "\u53e5sentence 0")):
        videos, captions = vatex.tables(tmp_path, Dataset(variant=variant), "vatex")
        assert splits(videos) == [8, 2, 2] and captions["text"][0] == first
        assert set(in_split(videos, "test")["video_id"]) == {name(101), name(103)}


def test_the_published_numbers_are_asserted(tmp_path):
    settings, lists = Dataset(variant="hgr"), (range(25991), range(30000, 31500), range(31500, 33000))
    tables = vatex.tables(write(tmp_path, train=lists[0], test=range(30000, 33000), lists=lists), settings, "vatex")
    assert splits(tables[0]) == [25991, 1500, 1500]
    assert rows.refuse_other_counts("vatex", *tables, expected=vatex.expected(settings), strict=True) == []
    sentences = {"train": (25991, 259910), "val": (1500, 15000), "test": (1500, 15000)}
    assert vatex.expected(settings) == vatex.expected(Dataset(variant="hgr_zh")) == sentences
    assert vatex.expected(Dataset()) == {"train": (25491, 254910), "val": (500, 5000), "test": (3000, 30000)}


def test_lists_of_other_lengths_stop_the_run(tmp_path):
    settings = Dataset(variant="hgr")
    tables = vatex.tables(write(tmp_path), settings, "vatex")
    with pytest.raises(
        ValueError, match=r"train has 8 videos, and 25991 were published.*val has 2 videos, and 1500.*test has 2 videos, and 1500"
    ):
        rows.refuse_other_counts("vatex", *tables, expected=vatex.expected(settings), strict=True)


def test_a_fetched_video_is_cut_at_the_seconds_of_its_name_and_a_file_of_the_user_is_not(tmp_path):
    write(tmp_path)
    fetched, given = (vatex.tables(tmp_path, settings, "vatex")[0].iloc[0] for settings in (Dataset(), Dataset(videos="x")))
    assert (fetched["fetch_url"], fetched["start"], fetched["end"]) == ("https://www.youtube.com/watch?v=00000000000", 3.0, 13.0)
    assert given["fetch_url"] == "" and math.isnan(given["start"]) and math.isnan(given["end"])
    assert fetched["anno_duration"] == given["anno_duration"] == 10
    mirror = vatex.tables(tmp_path, Dataset(mirrors={"videos": "https://m/"}), "vatex")[0].iloc[0]
    assert mirror["fetch_url"] == "https://m/00000000000"


def test_an_id_may_have_dashes_and_underscores_and_a_file_any_ending():
    assert vatex._part("-_a_b_c_d-e_000010_000020") == ("-_a_b_c_d-e", 10, 20)
    assert vatex.file_key("-_a_b_c_d-e_000010_000020.mkv") == "-_a_b_c_d-e_000010_000020"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "expected a list, not dict"),
        ([{"videoID": name(1)}], "entry 0 has no usable 'enCap'"),
        ([entry(name(100), ["a"] * 9)], "are not 10 sentences"),
        ([entry(name(100), ["a"] * 9 + [" "])], "are not 10 sentences"),
        ([entry(name(100)), entry(name(100))], "is there twice"),
        ([entry("abc_000001_000002")], "1 entries of vatex_validation_v1.0.json are not named"),
        ([entry(name(100)[:-6] + "000003")], "1 entries of vatex_validation_v1.0.json are not named"),
        ([entry(name(100)[:-6] + "13")], "1 entries of vatex_validation_v1.0.json are not named"),
        ([entry(name(3))], "1 videos are in both files"),
    ],
)
def test_each_defect_of_a_file_is_one_sentence(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        vatex.tables(write(tmp_path, content=content), Dataset(), "vatex")


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ((range(8), [100, 101], [101, 102, 103]), "1 clips are twice in the lists"),
        (([*range(8), 100], [101], [102, 103]), "1 clips of train_list.txt are not in"),
        ((range(7), [7, 100, 101], [102, 103]), "1 clips of the other lists are not in"),
        ((range(7), [100, 101], [102, 103]), "1 clips are in no list"),
    ],
)
def test_lists_that_do_not_divide_the_files_are_refused(tmp_path, lists, sentence):
    with pytest.raises(ValueError, match=sentence):
        vatex.tables(write(tmp_path, lists=lists), Dataset(variant="hgr"), "vatex")


def test_hgr_without_lists_says_what_to_provide(tmp_path):
    with pytest.raises(ValueError, match=r"datasets.vatex.annotations is not set.*train_list.txt, val_list.txt, test_list.txt"):
        vatex.download(tmp_path, Dataset(variant="hgr"), "vatex")
    (write(tmp_path) / vatex.LISTS[1]).unlink()
    with pytest.raises(ValueError, match=r"holds no val_list.txt; set datasets.vatex.annotations"):
        vatex.tables(tmp_path, Dataset(variant="hgr"), "vatex")
