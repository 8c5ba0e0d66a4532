"""Small files in ActivityNet Captions' format."""

import json

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets import activitynet
from pipeline.datasets.annotations import splits
from pipeline.datasets.annotations.rows import in_split


def entry(*sentences):
    return {"duration": 55.15, "timestamps": [[0.28, 55.15]] * len(sentences), "sentences": list(sentences)}


@pytest.fixture
def raw(tmp_path):
    train = {f"v_{n:011d}": entry(" one", "two ") for n in range(600)}
    (tmp_path / "train.json").write_text(json.dumps(train))
    (tmp_path / "val_1.json").write_text(json.dumps({"v_-abcdefghij": entry("A piñata.", " It\nbreaks."), "v_v_cdefghijk": entry("a")}))
    return tmp_path


def test_keys_have_v_or_not_and_an_id_may_begin_with_it(raw):
    videos, _ = activitynet.tables(raw, Dataset(), "activitynet")
    assert list(in_split(videos, "test")["video_id"]) == ["-abcdefghij", "v_cdefghijk"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("v_-abcdefghij.mp4", "-abcdefghij"),
        ("-abcdefghij.mkv", "-abcdefghij"),
        ("v_abcdefghi.webm", "v_abcdefghi"),
        ("v_v_abcdefghi", "v_abcdefghi"),
    ],
)
def test_a_file_is_known_by_its_youtube_id(name, key):
    assert activitynet.file_key(name) == key


def test_500_training_videos_are_held_out_whatever_the_order(raw):
    first = activitynet.tables(raw, Dataset(), "activitynet")[0]
    assert first["split"].value_counts().to_dict() == {"val": 500, "train": 100, "test": 2}
    content = json.loads((raw / "train.json").read_text())
    (raw / "train.json").write_text(json.dumps(dict(reversed(content.items()))))
    second = activitynet.tables(raw, Dataset(), "activitynet")[0]
    assert set(in_split(first, "val")["video_id"]) == set(in_split(second, "val")["video_id"])


def test_a_paragraph_keeps_the_publishers_blanks(raw):
    _, captions = activitynet.tables(raw, Dataset(), "activitynet")
    assert splits.paragraphs(captions).set_index("video_id")["text"]["-abcdefghij"] == "A piñata.  It\nbreaks."


def test_videos_are_fetched_by_their_page_unless_the_user_has_them(raw):
    fetched, given = (activitynet.tables(raw, settings, "activitynet")[0] for settings in (Dataset(), Dataset(videos="x")))
    assert fetched.set_index("video_id")["fetch_url"]["-abcdefghij"] == "https://www.youtube.com/watch?v=-abcdefghij"
    assert given["fetch_url"].eq("").all()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "expected videos with their sentences, not list"),
        ({"v_abcdefghijk": {"sentences": ["a"]}}, "'v_abcdefghijk' lacks a duration or sentences"),
        ({"v_abcdefghijk": entry("a"), "abcdefghijk": entry("b")}, "'abcdefghijk' is there with and without 'v_'"),
        ({"short": entry("a")}, "1 entries of val_1.json are no YouTube ids: short"),
        ({f"v_{0:011d}": entry("a")}, "1 videos are trained and tested on: 00000000000"),
    ],
)
def test_each_defect_is_one_sentence(raw, content, sentence):
    (raw / "val_1.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        activitynet.tables(raw, Dataset(), "activitynet")
