"""Small files in MSVD's formats."""

import json
import pickle

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets import msvd
from pipeline.datasets.annotations.rows import in_split

CLIPS = {"train": ["-4wsuPCjDBc_5_15", "a_b-cdefghi_0_2"], "val": ["bQJQGoJF7_k_162_169"], "test": ["eyhzdC936uk_15_27"]}
WORDS = {clip: [["a", "dog", str(n)] for n in range(3)] for clips in CLIPS.values() for clip in clips}


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw-captions.pkl").write_bytes(pickle.dumps(WORDS))
    for split, clips in CLIPS.items():
        # Some copies lack the last line end.
        (tmp_path / f"{split}_list.txt").write_text("\n".join(clips))
    return tmp_path


def test_lists_of_words_become_sentences_and_every_one_of_a_test_clip_is_kept(raw):
    videos, captions = msvd.tables(raw, Dataset(), "msvd")
    assert list(in_split(captions, "test")["text"]) == ["a dog 0", "a dog 1", "a dog 2"]
    assert list(in_split(videos, "train")["video_id"]) == CLIPS["train"]


def test_the_json_form_gives_the_same_tables(raw, tmp_path_factory):
    other = tmp_path_factory.mktemp("json")
    for split in CLIPS:
        (other / f"{split}_list.txt").write_text((raw / f"{split}_list.txt").read_text() + "\r\n")
    (other / "captions_msvd.json").write_text(json.dumps({clip: [" ".join(words) for words in texts] for clip, texts in WORDS.items()}))
    for one, two in zip(*(msvd.tables(folder, Dataset(), "msvd") for folder in (raw, other)), strict=True):
        assert one.equals(two)


def test_a_youtube_id_may_hold_dashes_and_underscores(raw):
    videos, _ = msvd.tables(raw, Dataset(), "msvd")
    assert list(videos["src_url"])[:2] == ["https://www.youtube.com/watch?v=-4wsuPCjDBc", "https://www.youtube.com/watch?v=a_b-cdefghi"]
    assert list(videos["anno_duration"])[:3] == [10.0, 2.0, 7.0]


def test_a_pickle_that_calls_something_is_refused_by_name(raw, tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'marker')!r}, 'w')",))

    (raw / "raw-captions.pkl").write_bytes(pickle.dumps({"a": Trap()}))
    with pytest.raises(ValueError, match="exec"):
        msvd.tables(raw, Dataset(), "msvd")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "expected clips with their captions, not list"),
        (dict.fromkeys(WORDS, "a dog"), "captions of '-4wsuPCjDBc_5_15' are neither"),
        ({"-4wsuPCjDBc_5_15": [["a"]]}, "3 clips of a list have no captions: a_b-cdefghi_0_2"),
        (WORDS | {"eyhzdC936uk_1_2": [["a"]]}, "1 clips have captions and are in no list: eyhzdC936uk_1_2"),
    ],
)
def test_each_defect_is_one_sentence(raw, content, sentence):
    (raw / "raw-captions.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        msvd.tables(raw, Dataset(), "msvd")


def test_a_clip_with_another_name_is_refused(raw):
    (raw / "raw-captions.pkl").write_bytes(pickle.dumps(WORDS | {"vid7": [["a"]]}))
    (raw / "val_list.txt").write_text("bQJQGoJF7_k_162_169\nvid7\n")
    with pytest.raises(ValueError, match="'vid7' is not named"):
        msvd.tables(raw, Dataset(), "msvd")
