"""Which file a cell means: what lies beside a video, other letters of the same look, numbers that a spreadsheet has shortened."""

import time
import unicodedata

import pytest

from pipeline.datasets.own import names
from pipeline.datasets.own.names import Names

MÖWE = unicodedata.normalize("NFD", "Möwe.mp4")


@pytest.mark.parametrize(
    ("files", "written", "file"),
    [
        # What is downloaded or made with a video is not meant by its name without the ending.
        (("a.mp4", "a.jpg", "a.json", "a.info.json", "a.en.vtt", "a.description"), "a", "a.mp4"),
        (("a.webm", "a.webp", "a.srt", "a.txt", "a.nfo", "a.m4a", "a.mp4.part", "a.ytdl"), "a", "a.webm"),
        (("sub/a.MOV", "sub/a.AAE", "sub/a.HEIC", "a.mp4"), "sub/a", "sub/a.MOV"),
        (("a.mp4", "a.gif", "a.png"), "a", "a.mp4"),
        (("a.gif", "a.jpg"), "a", "a.gif"),
        (("a", "a.mp4"), "a", "a"),
        (("a", "a.json"), "a", "a"),
        (("a.2024.mp4", "a.2024.jpg"), "a.2024", "a.2024.mp4"),
        # A name that is written out is taken.
        (("a.mp4", "a.gif"), "a.gif", "a.gif"),
        (("a.mp4", "a.json"), "a.json", "a.json"),
        # The same letters in another form, and in another case where one file fits.
        ((MÖWE,), "Möwe.mp4", MÖWE),
        ((MÖWE,), "Möwe", MÖWE),
        (("Möwe.mp4",), MÖWE, "Möwe.mp4"),
        (("Möwe.mp4", MÖWE), "Möwe.mp4", "Möwe.mp4"),
        ((f"{MÖWE[:-4]}/a.mp4",), "Möwe/a", f"{MÖWE[:-4]}/a.mp4"),
        (("IMG_1.MOV",), "img_1.mov", "IMG_1.MOV"),
        (("Tag 1/Straße.MP4",), "tag 1/STRASSE", "Tag 1/Straße.MP4"),
        (("A.mp4", "a.mp4"), "a", "a.mp4"),
        (("A.mp4", "a.mkv"), "A", "A.mp4"),
        # A recording's narrow blank, a pasted joiner, another slash.
        (("at 1.00.00\u202fPM.mov",), "at 1.00.00 PM.mov", "at 1.00.00\u202fPM.mov"),
        (("a.mp4",), "a\u200b.mp4\ufeff", "a.mp4"),
        (("sub/b c.mkv",), r"sub\b c.mkv", "sub/b c.mkv"),
        # Zeros that a spreadsheet took.
        (("0001.mp4", "0010.mp4", "0001.jpg"), "1", "0001.mp4"),
        (("0001.mp4", "0010.mp4"), "10.0", "0010.mp4"),
        (("0001.mp4", "0001.mkv"), "1.mp4", "0001.mp4"),
        (("sub/007.mp4", "7x.mp4", "other/07.mp4"), "sub/7", "sub/007.mp4"),
        (("0000.mp4", "0001.mp4"), "0", "0000.mp4"),
        (("1.mp4", "01.mp4"), "1", "1.mp4"),
        (("00012345678901234567890.mp4",), "12345678901234567890", "00012345678901234567890.mp4"),
    ],
)  # fmt: skip
def test_a_name_means_a_file(place, files, written, file):
    place.put(*files)
    assert place.found(written) == [file]


@pytest.mark.parametrize(
    ("files", "written", "sentence"),
    [
        (("a.mp4", "a.mkv", "a.jpg"), "a", "the video 'a' could be a.mkv or a.mp4; write the ending"),
        (("a.json", "a.jpg"), "a", "there is no video 'a'"),
        (("a.mp4.part",), "a.mp4", "there is no video 'a.mp4'"),
        (("A.mp4", "a.MP4"), "a.mp4", "the video 'a.mp4' could be A.mp4 or a.MP4; write the name as it is"),
        (("01.mp4", "001.mp4"), "1", "the video '1' could be 001.mp4 or 01.mp4; a spreadsheet may have removed zeros"),
        (tuple(f"a.{n}v" for n in "bcdef"), "a", "the video 'a' could be a.bv or a.cv or a.dv or 2 others; write the ending"),
        (("123456789012.mp4",), "1.23457E+11", "there is no video '1.23457E+11'; a spreadsheet has rounded this number"),
        (("001999.mp4",), "1.mp4", "there is no video '1.mp4'"),
        (("sub/a.mp4",), "a.mp4", "there is no video 'a.mp4'"),
        (("video0001.mp4", "video0002.mp4"), "vidoe0002", "there is no video 'vidoe0002'; did you mean 'video0002.mp4'?"),
        (("a\nb.mp4", "a\nb.mkv"), "a\u200b", "there is no video 'a\\u200b'"),
        (("a\nb.mp4", "a\nb.mkv"), "A\nb", r"the video 'A\nb' could be a\nb.mkv or a\nb.mp4; write the ending"),
        (("a.mp4",), "\u200b", "the video is empty"),
        (("a.mp4",), "x" * 9999, f"there is no video '{'x' * 100}...'"),
    ],
)
def test_a_name_of_no_file_or_several_is_one_sentence(place, files, written, sentence):
    place.put(*files)
    said = place.refused(f'video,caption\n"{written}",one\ny.mp4,two\nz.mp4,three\n')
    assert said.startswith(f"1 mistake:\n  line 2: {sentence}") and said.count("\n") == 1


def test_the_files_are_gone_through_once_whatever_is_written(monkeypatch):
    keys = []
    monkeypatch.setattr(names, "folded", lambda name: keys.append(name) or name.lower())
    found = Names(f"{n:04d}/{n:04d}.mp4" for n in range(300))
    for n in range(300):
        assert found.find(f"{n:04d}/{n}") == (f"{n:04d}/{n:04d}.mp4", "")
        assert found.find(f"{n:04d}/none {n}")[0] == found.find(f"{n:04d}/none {n}")[0] == f"{n:04d}/none {n}"
    assert len(keys) <= 3 * 300 + 2 * 600 + names.HINTS, (
        "two indexes and the neighbours, and each name that is written, with and without its ending"
    )


def test_a_long_row_of_zeros_is_no_number_and_takes_no_time():
    begin = time.process_time()
    assert Names(iter(["01.mp4"])).find("0" * 100_000 + "x")[1].startswith("there is no video '000")
    assert time.process_time() - begin < 5


def test_only_the_mistakes_that_are_shown_are_compared_with_other_names(monkeypatch):
    compared = []
    monkeypatch.setattr(names.difflib, "get_close_matches", lambda _, others, **__: compared.append(len(others)) or [])
    found = Names(f"holiday {n}.mp4" for n in range(5000))
    for n in range(2000):
        found.find(f"holyday {n}")
    assert len(compared) == names.HINTS and max(compared) <= 4 * names.AROUND


def test_a_folder_that_may_not_be_read_and_a_link_to_one_are_passed_over(place, monkeypatch):
    place.put("closed/a.mp4", "open/b.mp4")
    (place.path / "videos/link").symlink_to(place.path / "videos/open")
    (place.path / "videos/c.mp4").symlink_to(place.path / "videos/open/b.mp4")
    (place.path / "videos/gone.mp4").symlink_to(place.path / "nowhere")
    scan = names.os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(path)
        return scan(path)

    monkeypatch.setattr(names.os, "scandir", refusing)
    assert sorted(names.below(place.path / "videos")) == ["c.mp4", "open/b.mp4", "y.mp4", "z.mp4"]
