"""Which file is which video: whatever its ending, and never by a rule that loses one."""

import pandas as pd
import pytest

from pipeline.datasets.annotations.matching import is_video, match, stem


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def matched(folder, *official):
    videos = pd.DataFrame({"official_name": official, "src_path": ""})
    return list(match(videos, folder, root=folder, file_key=stem, name="x")["src_path"])


def test_files_are_found_in_subfolders_whatever_their_ending(tmp_path):
    put(tmp_path, "a/video0.mp4", "b/c/video1.webm", "video2", "video3.MKV", "video4.3gp")
    assert matched(tmp_path, *(f"video{n}" for n in range(6))) == [
        "a/video0.mp4",
        "b/c/video1.webm",
        "video2",
        "video3.MKV",
        "video4.3gp",
        "",
    ]


def test_what_lies_beside_a_video_is_not_the_video(tmp_path):
    put(tmp_path, "video0.mp4", "video0.json", "video0.en.vtt", "video0.jpg", ".video0.mp4.part", "video0.mp4.part")
    assert matched(tmp_path, "video0") == ["video0.mp4"]


@pytest.mark.parametrize("ending", ["description", "info.json", "en.srt", "nfo", "m4a", "thm", "crdownload", "json3", "JPG", "part"])
def test_endings_of_what_lies_beside_a_video(tmp_path, ending):
    put(tmp_path, "video0.MTS", f"video0.{ending}")
    assert not is_video(tmp_path / f"video0.{ending}") and is_video(tmp_path / "video0.MTS")
    assert matched(tmp_path, "video0") == ["video0.MTS"]


def test_of_two_files_the_one_with_the_official_name_is_taken_else_both_are_named(tmp_path):
    put(tmp_path, "video0.avi", "video0.mp4", "video1.avi", "video1.mkv")
    assert matched(tmp_path, "video0.avi") == ["video0.avi"]
    assert matched(tmp_path, "video0") == ["video0.mp4"]
    with pytest.raises(ValueError, match=r"x: video1 has 2 files, .*video1.avi, .*video1.mkv; keep one of them"):
        matched(tmp_path, "video1")


def test_files_of_no_video_are_told(tmp_path, capsys):
    put(tmp_path, "video0.mp4", "video9.mp4")
    matched(tmp_path, "video0")
    assert f"x: 1 files below {tmp_path} belong to no video: video9.mp4" in capsys.readouterr().out


def test_a_folder_of_something_else_is_refused(tmp_path):
    put(tmp_path, "holiday.mp4")
    with pytest.raises(ValueError, match=r"no file below .* belongs to the dataset: there is 'holiday.mp4', and 'video0' or the like"):
        matched(tmp_path, "video0", "video1")


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("a.mp4", "a"),
        ("a.b.webm", "a.b"),
        ("a", "a"),
        ("a.", "a."),
        ("x_00.05.16.065-00.05.21.941", "x_00.05.16.065-00.05.21.941"),
        ("a.3gp", "a"),
    ],
)
def test_an_ending_has_a_letter(name, bare):
    assert stem(name) == bare
