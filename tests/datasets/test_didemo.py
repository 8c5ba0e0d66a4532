"""Small files in DiDeMo's formats, with its twin names and the endings that circulate."""

import json

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets import didemo
from pipeline.datasets.annotations import splits
from pipeline.datasets.annotations.rows import in_split

LISTED = {"train": "1@N00_11_aaa.mov", "val": "2@N00_22_bbb.", "test": "3@N00_33_ccc.mpg"}
TWIN = "3@N00_33_ddd.mp4"


@pytest.fixture
def raw(tmp_path):
    for split, name in LISTED.items():
        (tmp_path / f"{split}_list.txt").write_text(name)
        texts = [(name, "a dog\nruns"), (name, "it stops")] + ([(TWIN, "a cat")] if split == "test" else [])
        (tmp_path / f"{split}_data.json").write_text(json.dumps([{"video": v, "description": t, "num_segments": 6} for v, t in texts]))
    (tmp_path / "yfcc100m_hash.txt").write_text("11\tabcdef0123456789abcdef0123\n33\t0123456789abcdef0123456789abcd\n")
    (tmp_path / "video_licenses.txt").write_text(
        "VideoID\t\tLink\t\tLicense\n11\thttp://a\thttp://creativecommons.org/licenses/by-nc-nd/2.0/\n"
    )
    return tmp_path


def test_the_descriptions_of_a_twin_are_dropped_or_merged(raw, capsys):
    texts = {v: list(in_split(didemo.tables(raw, Dataset(variant=v), "didemo")[1], "test")["text"]) for v in didemo.VARIANTS}
    assert texts == {"listed": ["a dog\nruns", "it stops"], "merged": ["a dog\nruns", "it stops", "a cat"]}
    assert "test: 1 videos have a second name, whose descriptions are dropped" in capsys.readouterr().out


def test_hashes_are_used_as_they_are_and_a_video_without_one_has_no_address(raw):
    videos, _ = didemo.tables(raw, Dataset(), "didemo")
    base = "https://multimedia-commons.s3-us-west-2.amazonaws.com/data/videos/mp4"
    assert list(videos["fetch_url"]) == [
        f"{base}/abc/def/abcdef0123456789abcdef0123.mp4", "", f"{base}/012/345/0123456789abcdef0123456789abcd.mp4",
    ]  # fmt: skip
    assert list(videos["licence"]) == ["CC BY-NC-ND 2.0", "", ""]


def test_a_paragraph_joins_the_descriptions_in_their_order(raw):
    _, captions = didemo.tables(raw, Dataset(), "didemo")
    joined = splits.paragraphs(captions)
    assert list(joined["text"]) == ["a dog\nruns it stops"] * 3
    assert list(joined["caption_id"]) == ["1@N00_11#paragraph", "2@N00_22#paragraph", "3@N00_33#paragraph"]


@pytest.mark.parametrize("name", ["1@N00_11_aaa.mov", "1@N00_11_aaa.mov.mp4", "1@N00_11_aaa.mp4", "1@N00_11_aaa", "1@N00_11_aaa."])
def test_a_file_is_known_by_user_and_id_whatever_follows(name):
    assert didemo.file_key(name) == "1@N00_11"


def test_a_description_of_an_unlisted_video_is_named(raw):
    (raw / "val_data.json").write_text(json.dumps([{"video": "9@N00_99_x.avi", "description": "a"}]))
    with pytest.raises(ValueError, match="1 videos have descriptions and are not in val_list.txt: 9@N00_99_x.avi"):
        didemo.tables(raw, Dataset(), "didemo")


def test_joined_paragraphs_in_a_csv_with_line_ends_in_cells_are_read(raw):
    (raw / "train_data.json").unlink()
    (raw / "didemo_train_label.csv").write_text(f'success,video_path,text\nTrue,/a/{LISTED["train"]},"a dog\nruns it stops"\n')
    _, captions = didemo.tables(raw, Dataset(), "didemo")
    assert list(in_split(captions, "train")["text"]) == ["a dog\nruns it stops"]
