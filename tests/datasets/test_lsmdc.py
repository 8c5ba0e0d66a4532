"""Small files in LSMDC's format, with the defects that circulate. No authentic file is needed: the dataset is gated."""

import pytest

from pipeline.config.dataset import Dataset
from pipeline.datasets import lsmdc
from pipeline.datasets.annotations.rows import in_split

TIMES = "00.23.23.000\t00.23.28.886\t00.23.23.500\t00.23.28.886"


def line(clip, text="SOMEONE stands."):
    return f"{clip}\t{TIMES}\t{text}\n".encode()


@pytest.fixture
def raw(tmp_path):
    clips = {split: f"300{n}_FILM_00.23.23.000-00.23.28.886" for n, split in enumerate(lsmdc.FILES)}
    for split, (name, *_) in lsmdc.FILES.items():
        (tmp_path / name).write_bytes(line(clips[split]))
    links = [f"{lsmdc.BASE}avi/film/{clip}.avi" for clip in clips.values()]
    (tmp_path / "MPIIMD_downloadLinks.txt").write_text(f"{links[0]}\n{links[1]}\n")
    (tmp_path / "MVADaligned_downloadLinks.txt").write_text(f"{links[2]}\n")
    return tmp_path


def write(raw, *rows):
    (raw / "LSMDC16_annos_training.csv").write_bytes(b"".join(rows))
    return lsmdc.tables(raw, Dataset(), "lsmdc")


def test_each_split_has_its_clip_with_times_film_and_address(raw):
    videos, captions = lsmdc.tables(raw, Dataset(), "lsmdc")
    assert list(videos["split"]) == ["train", "val", "test"]
    assert videos["anno_duration"].eq(5.386).all()
    assert list(videos["src_url"]) == ["3000_FILM", "3001_FILM", "3002_FILM"]
    assert videos["fetch_url"].iloc[0] == f"{lsmdc.BASE}avi/film/3000_FILM_00.23.23.000-00.23.28.886.avi"
    assert list(captions["text"]) == ["SOMEONE stands."] * 3


def test_a_mirror_replaces_the_address_of_every_clip(raw):
    videos, _ = lsmdc.tables(raw, Dataset(mirrors={"videos": "https://mirror/"}), "lsmdc")
    assert videos["fetch_url"].str.startswith("https://mirror/avi/film/").all()


def test_nothing_is_fetched_where_the_user_has_the_clips(raw):
    (raw / "MPIIMD_downloadLinks.txt").unlink()
    videos, _ = lsmdc.tables(raw, Dataset(videos="clips"), "lsmdc")
    assert videos["fetch_url"].eq("").all()


def test_a_repeated_clip_is_one_video_with_several_captions(raw):
    videos, captions = write(raw, line("a_00.01", "one"), line("b_00.01", "two"), line("a_00.01", "three"))
    assert list(in_split(videos, "train")["video_id"]) == ["a_00.01", "b_00.01"]
    ours = captions[captions["video_id"] == "a_00.01"]
    assert list(ours["text"]) == ["one", "three"] and list(ours["caption_id"]) == ["a_00.01#0", "a_00.01#1"]


def test_encodings_may_be_mixed_and_quotes_are_plain_text(raw, capsys):
    _, captions = write(raw, line("a", "café"), line("b").replace(b"SOMEONE", b"caf\xe9"), line('"c', 'She says "no. '))
    assert list(in_split(captions, "train")["text"]) == ["café", "café stands.", 'She says "no.']
    assert list(in_split(captions, "train")["video_id"]) == ["a", "b", "c"]
    assert "2 lines of LSMDC16_annos_training.csv are not plain ASCII" in capsys.readouterr().out


def test_a_line_with_other_cells_stops_the_run_or_is_reported(raw, capsys):
    bad = line("b").replace(b"\t00.23.28.886", b"", 1)
    with pytest.raises(ValueError, match=r"LSMDC16_annos_training.csv: 1 lines do not have six cells with times: line 2: b"):
        write(raw, line("a"), bad)
    videos, _ = lsmdc.tables(raw, Dataset(counts="report"), "lsmdc")
    assert list(in_split(videos, "train")["video_id"]) == ["a"]
    assert "line 2: b" in capsys.readouterr().out


def test_a_clip_in_two_splits_is_refused(raw):
    with pytest.raises(ValueError, match="'3001_FILM_00.23.23.000-00.23.28.886' is in train and in val"):
        write(raw, line("3001_FILM_00.23.23.000-00.23.28.886"))


def test_both_spellings_of_the_test_file_are_known(raw):
    (raw / "LSMDC16_challenge_1000_publictect.csv").rename(raw / "LSMDC16_challenge_1000_publictest.csv")
    assert len(in_split(lsmdc.tables(raw, Dataset(), "lsmdc")[0], "test")) == 1


def test_the_times_in_a_name_are_not_its_ending():
    assert lsmdc.file_key("1012_Unbreakable_00.05.16.065-00.05.21.941.avi") == "1012_Unbreakable_00.05.16.065-00.05.21.941"
    assert lsmdc.file_key("1012_Unbreakable_00.05.16.065-00.05.21.941") == "1012_Unbreakable_00.05.16.065-00.05.21.941"
