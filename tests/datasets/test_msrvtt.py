"""Small files in MSR-VTT's formats, with the defects that circulate."""

import json
import zipfile

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets import msrvtt
from pipeline.datasets.annotations.rows import in_split

SPLIT = {"video0": "train", "video1": "train", "video2": "validate", "video3": "test", "video4": "test"}


def content(videos=SPLIT):
    entries = [
        {"video_id": v, "split": s, "url": f"https://youtube/{i // 2}", "start time": 1.5, "end time": 12.0, "category": 1, "id": i}
        for i, (v, s) in enumerate(videos.items())
    ]
    # Sentences come in no order.
    rows = [{"video_id": v, "caption": f"{v} says  {n}", "sen_id": 20 * i + n} for n in range(19, -1, -1) for i, v in enumerate(videos)]
    return {"info": {}, "videos": entries, "sentences": rows}


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(content()))
    header = "key,vid_key,video_id,sentence\n"
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(header + 'ret0,msr4,video4,"one, with a comma"\nret1,msr3,video3,sautéed\n')
    return tmp_path


def test_the_merged_file_gives_sentences_in_their_order_and_one_for_each_test_clip(raw):
    videos, captions = msrvtt.tables(raw, Dataset(variant="9k"), "msrvtt")
    assert list(videos["video_id"]) == ["video4", "video3", "video0", "video1", "video2"]
    assert dict(zip(videos["video_id"], videos["split"], strict=True)) == {
        "video4": "test",
        "video3": "test",
        "video0": "train",
        "video1": "train",
        "video2": "val",
    }
    assert list(in_split(captions, "test")["text"]) == ["one, with a comma", "sautéed"]
    assert list(in_split(captions, "test")["caption_id"]) == ["video4#ret0", "video3#ret1"]
    first = captions[captions["video_id"] == "video0"]
    assert list(first["caption_id"]) == [f"video0#{n}" for n in range(20)]
    assert first["text"].iloc[3] == "video0 says  3"
    assert videos["anno_duration"].eq(10.5).all()


def test_validation_clips_are_trained_on_as_well_where_papers_do(raw):
    videos, captions = msrvtt.tables(raw, Dataset(variant="9k", validation="paper"), "msrvtt")
    assert list(in_split(videos, "train")["video_id"]) == ["video0", "video1", "video2"]
    assert list(in_split(videos, "val")["video_id"]) == ["video2"]
    assert len(in_split(captions, "train")) == 60 and len(in_split(captions, "val")) == 20


def test_the_two_original_archives_give_the_same_tables(raw, tmp_path_factory):
    other = tmp_path_factory.mktemp("original")
    whole = content()
    for file, inner, splits in (
        ("train_val_annotation.zip", "train_val_videodatainfo.json", ("train", "validate")),
        ("test_videodatainfo.json.zip", "test_videodatainfo.json", ("test",)),
    ):
        ids = {v for v, s in SPLIT.items() if s in splits}
        part = {kind: [row for row in whole[kind] if row["video_id"] in ids] for kind in ("videos", "sentences")}
        with zipfile.ZipFile(other / file, "w") as archive:
            archive.writestr("readme.txt", "a description")
            archive.writestr(inner, json.dumps(part))
    (other / "MSRVTT_JSFUSION_test.csv").write_bytes((raw / "MSRVTT_JSFUSION_test.csv").read_bytes())
    for variant in ("9k", "7k", "full"):
        for one, two in zip(*(msrvtt.tables(folder, Dataset(variant=variant), "msrvtt") for folder in (raw, other)), strict=True):
            assert one.equals(two)


def test_miechs_lists_take_all_sentences(raw):
    (raw / "train_list_miech.txt").write_text("video0\nvideo2\nvideo3\n")
    (raw / "test_list_miech.txt").write_text("video1")
    videos, captions = msrvtt.tables(raw, Dataset(variant="1kB"), "msrvtt")
    assert dict(zip(videos["video_id"], videos["split"], strict=True)) == {
        "video1": "test",
        "video0": "train",
        "video2": "val",
        "video3": "train",
    }
    assert len(in_split(captions, "test")) == 20


def test_a_clip_that_is_trained_and_tested_on_is_named(raw):
    (raw / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\nvideo3\n")
    with pytest.raises(ValueError, match="msrvtt: 1 videos are trained and tested on: video3"):
        msrvtt.tables(raw, Dataset(variant="9k"), "msrvtt")


def test_a_clip_without_20_sentences_is_named(raw):
    broken = content()
    broken["sentences"].pop()
    (raw / "MSRVTT_data.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="1 videos do not have 20 sentences: video4"):
        msrvtt.tables(raw, Dataset(), "msrvtt")


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("MSRVTT_data.json", "<html>", "MSRVTT_data.json is not JSON"),
        ("MSRVTT_data.json", '{"videos": []}', "no 'videos' and 'sentences'"),
        ("MSRVTT_data.json", '{"videos": [{"video_id": "video0"}], "sentences": []}', "entry 0 has no usable 'split'"),
        ("MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id\n", "there is no column 'sentence'"),
        ("MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\nret0,msr4,video4\n", "line 2 does not have 4 cells"),
        (
            "MSRVTT_JSFUSION_test.csv",
            "key,vid_key,video_id,sentence\nret0,msr3,video4,a\n",
            "line 2: 'video4' .* has another vid_key, 'msr3'",
        ),
        (
            "MSRVTT_JSFUSION_test.csv",
            "key,vid_key,video_id,sentence\nret0,msr9,video9,a\n",
            "1 videos of a split are not in the annotations: video9",
        ),
        ("MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\nret0,msr4,video4,a\0b\n", "line 2 holds a NUL"),
    ],
)
def test_each_defect_is_one_sentence(raw, file, text, sentence):
    (raw / file).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        msrvtt.tables(raw, Dataset(), "msrvtt")


def test_text_that_is_not_utf8_is_named_with_its_line(raw):
    (raw / "MSRVTT_JSFUSION_test.csv").write_bytes("key,vid_key,video_id,sentence\nret0,msr4,video4,saut\xe9ed\n".encode("latin-1"))
    with pytest.raises(ValueError, match="MSRVTT_JSFUSION_test.csv: line 2 is not utf-8 text"):
        msrvtt.tables(raw, Dataset(), "msrvtt")


def test_what_is_missing_is_named_with_what_would_do(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no train_val_annotation.zip or train_val_videodatainfo.json; MSRVTT_data.json would do as well"
    ):
        msrvtt.tables(tmp_path, Dataset(), "msrvtt")


def test_only_the_clips_and_annotations_are_taken_out_of_the_archives():
    members = (
        "MSRVTT/videos/all/video7.mp4",
        "MSRVTT/annotation/MSR_VTT.json",
        "MSRVTT/structured-symlinks/x.csv",
        "msrvtt_data/MSRVTT_data.json",
    )
    assert [msrvtt._video(name) for name in members] == ["videos/video7.mp4", None, None, None]
    assert [msrvtt.SOURCES[0].unpack(name) for name in members] == [None, None, None, "MSRVTT_data.json"]
