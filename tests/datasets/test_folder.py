"""Your own videos: every mistake of captions.csv with its line, splits by a hash of the name, parts of long videos."""

from functools import partial

import pytest

from pipeline import datasets
from pipeline.config.dataset import Dataset, Own
from pipeline.core.contents import Known
from pipeline.datasets import folder

NAMES = ("a.mp4", "sub/b c.mkv", "sub/ä é.webm", "-x.avi", "noending", "twice.mp4", "twice.mkv")


@pytest.fixture
def place(tmp_path):
    for name in NAMES:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"x")
    return tmp_path


def settings(place, text, **own):
    data = text if isinstance(text, bytes) else text.encode()
    (place / "captions.csv").write_bytes(data)
    return Dataset(videos=str(place / "videos"), captions=str(place / "captions.csv"), own=Own(**own))


def made(place, text, **own):
    entry = settings(place, text, **own)
    videos, captions = folder.tables(place, entry, "mine")
    datasets.check(videos, captions, name="mine")
    return videos, captions


def mistakes(place, text):
    with pytest.raises(ValueError, match="captions.csv: ") as caught:
        folder.read(settings(place, text), "mine")
    return str(caught.value)


GOOD = 'video,caption,split\na.mp4,"one, two",train\nsub/b c.mkv,drei,val\nsub/ä é.webm,vier é,test\na,again,train\n'


def test_names_may_hold_blanks_and_other_letters_and_lack_their_ending(place):
    videos, captions = made(place, GOOD)
    assert list(videos["src_path"]) == ["a.mp4", "sub/b c.mkv", "sub/ä é.webm"]
    assert list(videos["split"]) == ["train", "val", "test"]
    assert list(captions["text"]) == ["one, two", "drei", "vier é", "again"]
    assert captions["video_id"].iloc[0] == captions["video_id"].iloc[3] and captions["order"].iloc[3] == 1
    assert all(name.isascii() and "/" not in name for name in videos["video_id"])


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, lambda t: t.replace("video,caption", "Video, CAPTION ")]
)
def test_line_ends_a_byte_order_mark_and_the_case_of_the_header_do_not_matter(place, change):
    for one, two in zip(made(place, GOOD), made(place, change(GOOD)), strict=True):
        assert one.equals(two)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_and_tabs_may_stand_between_cells(place, mark):
    videos, captions = made(place, mark.join(("video", "caption")) + f"\na.mp4{mark}one, two\n-x.avi{mark}b\nnoending{mark}c\n")
    assert list(captions["text"]) == ["one, two", "b", "c"] and len(videos) == 3


def test_parts_of_a_long_video_are_videos_and_stay_in_one_split(place):
    text = (
        "video,caption,start,end\n"
        + "".join(f"a.mp4,part {n},{n},{n + 1.5}\n" for n in range(9))
        + "-x.avi,b,,\nnoending,c,2,\nsub/b c.mkv,d,,3\n"
    )
    videos, captions = made(place, text)
    assert len(videos) == 12 and len(captions) == 12
    assert videos[videos["src_path"] == "a.mp4"]["split"].nunique() == 1
    parts = videos.set_index("src_path")[["start", "end"]]
    assert parts.loc["noending", "start"] == 2 and parts.loc["noending"].isna()["end"]
    assert parts.loc["sub/b c.mkv", "end"] == 3 and parts.loc["-x.avi"].isna().all()


def test_a_part_without_a_split_is_where_another_part_of_its_file_is_named_to_be(place):
    named = "a.mp4,1,,0,1\na.mp4,2,test,1,2\na.mp4,3,,2,3\n-x.avi,b,val,,\nnoending,c,train,0,1\nnoending,d,train,1,2\n"
    for seed in range(5):
        videos, _ = made(place, f"video,caption,split,start,end\n{named}", seed=seed)
        assert videos.groupby("src_path")["split"].unique().map(list).to_dict() == {
            "a.mp4": ["test"],
            "-x.avi": ["val"],
            "noending": ["train"],
        }


def home(place, names, **own):
    """The split of each of these files, which no line names."""
    for name in names:
        (place / "videos" / name).write_bytes(b"")
    return made(place, "video,caption\n" + "".join(f"{name},text {name}\n" for name in names), **own)[0].set_index("src_path")["split"]


def sizes(found):
    return tuple(int((found == split).sum()) for split in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("videos", "shares", "wanted"),
    [
        (3, [0.8, 0.1, 0.1], (1, 1, 1)), (4, [0.8, 0.1, 0.1], (2, 1, 1)), (7, [0.8, 0.1, 0.1], (5, 1, 1)), (10, [0.8, 0.1, 0.1], (8, 1, 1)),
        (11, [0.8, 0.1, 0.1], (9, 1, 1)), (20, [0.8, 0.1, 0.1], (16, 2, 2)), (100, [0.8, 0.1, 0.1], (80, 10, 10)),
        (30, [1 / 3, 1 / 3, 1 / 3], (10, 10, 10)), (9, [0.0, 0.0, 1.0], (1, 1, 7)), (40, [0.6, 0.25, 0.15], (24, 10, 6)),
    ],
)  # fmt: skip
def test_drawn_splits_have_their_shares_whatever_the_seed_and_at_least_one_video(place, videos, shares, wanted):
    names = [f"{n}.mp4" for n in range(videos)]
    drawn = [home(place, names, shares=shares, seed=seed) for seed in range(5)]
    assert {sizes(found) for found in drawn} == {wanted}
    assert videos < 9 or not drawn[0].equals(drawn[1])


def test_every_number_of_videos_is_within_one_of_its_shares(place):
    names = [f"{n}.mp4" for n in range(60)]
    for number in range(10, 61, 7):
        found = sizes(home(place, names[:number]))
        assert all(abs(has - number * share) < 1 for has, share in zip(found, (0.8, 0.1, 0.1), strict=True)), (number, found)


def test_a_video_more_moves_two_others_at_most_and_the_order_of_the_lines_none(place):
    names = [f"{n}.mp4" for n in range(80)]
    before = home(place, names[:10])
    for number in range(11, 81):
        after = home(place, names[:number])
        assert (after[before.index] != before).sum() <= 2
        before = after
    assert home(place, names[::-1])[before.index].equals(before)


def test_shares_are_of_the_files_whose_split_is_open(place):
    names = [f"{n}.mp4" for n in range(12)]
    for name in names:
        (place / "videos" / name).write_bytes(b"")
    lines = [f"{name},text {name},{'test' if n < 2 else ''}\n" for n, name in enumerate(names)]
    videos, _ = made(place, "video,caption,split\n" + "".join(lines))
    assert sizes(videos["split"]) == (8, 1, 3)
    videos, _ = made(place, "video,caption,split\n" + "".join(lines), shares=[0.9, 0.1, 0.0])
    assert sizes(videos["split"]) == (9, 1, 2)


def test_too_few_files_for_the_splits_are_refused_with_the_split_that_has_none(place):
    with pytest.raises(ValueError, match="no video is in test; name a split for some in the column split"):
        made(place, "video,caption,split\na.mp4,one,train\n-x.avi,two,val\nnoending,three,train\n")
    with pytest.raises(ValueError, match="2 videos; at least 3 are needed, for train, val and test"):
        made(place, "video,caption\na.mp4,one\n-x.avi,two\n")


def test_a_split_that_is_written_stands_and_the_others_are_drawn(place):
    videos, _ = made(place, "video,caption,split\na.mp4,one,test\n-x.avi,two,\nnoending,three,\n")
    home = videos.set_index("src_path")["split"]
    assert home["a.mp4"] == "test" and set(home) == {"train", "val", "test"}


def test_every_mistake_is_listed_with_its_line(place):
    said = mistakes(
        place,
        "video,caption,split,start,end\na.mp4,one,train,,\n"
        "a.mp4,one,train,,\n"  # 3: twice
        ",two,,,\n"  # 4: no video
        "gone.mp4,three,,,\n"  # 5: no such video
        'sub/b c.mkv,"  ",dev,,\n'  # 6: empty caption, unknown split
        '-x.avi,"two\nlines",,five,\n'  # 7 and 8: not a number
        "-x.avi,six,,5,2\n"  # 9: nothing between
        "../out.mp4,seven,,,\n"  # 10
        "twice,eight,,,\n"  # 11
        "noending,nine\n"  # 12
        "a.mp4,ten,val,,\n"  # 13: another split
        "noending,eleven,,-1,nan\n",  # 14
    )
    for number, what in (
        (3, "the same video and caption as in line 2"), (4, "the video is empty"), (5, "there is no video 'gone.mp4'"),
        (6, "the caption is empty"), (6, "the split is 'dev'"), (7, "start is 'five'"), (9, "the part from 5 to 2 seconds is empty"),
        (10, "the video '../out.mp4' leaves the folder"), (11, "the video 'twice' could be twice.mkv or twice.mp4"),
        (12, "2 cells instead of 5"),
        (13, "the split is val, and in line 2 train"), (14, "start is '-1'"), (14, "end is 'nan'"),
    ):  # fmt: skip
        assert f"line {number}: {what}" in said
    assert said.startswith(f"{place / 'captions.csv'}: 13 mistakes:")


def test_a_near_name_is_suggested(place):
    assert "there is no video 'sub/b_c.mkv'; did you mean 'sub/b c.mkv'?" in mistakes(place, "video,caption\nsub/b_c.mkv,one\n")


def test_many_mistakes_are_counted(place):
    said = mistakes(place, "video,caption\n" + "".join(f"{n}.mp4,x\n" for n in range(25)))
    assert "25 mistakes" in said and "and 5 more" in said and said.count("\n") == 21


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column 'video'; the header has nothing"),
        ("video,text\na.mp4,b\n", "no column 'caption'; the header has video, text"),
        ("video,caption,strat\n", "column 'strat' is unknown or there twice"),
        ("video,caption,caption\n", "column 'caption' is unknown or there twice"),
        ('video,caption\na.mp4,"open\n', "unexpected end of data"),
        ("video,caption\na.mp4,one\n", "1 videos; at least 3 are needed"),
        (b"video,caption\na.mp4,caf\xe9\n", "line 2 is not utf-8 text"),
        ("video,caption\na.mp4,a\0b\n", "line 2 holds a NUL"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(place, text, sentence):
    assert sentence in mistakes(place, text)


def test_a_folder_or_file_that_is_not_there_is_named_with_its_key(place):
    with pytest.raises(ValueError, match=r"datasets.mine.captions: there is no file 'nowhere.csv'"):
        folder.read(Dataset(videos=str(place), captions="nowhere.csv"), "mine")
    (place / "captions.csv").write_text("video,caption\n")
    with pytest.raises(ValueError, match=r"datasets.mine.videos: there is no folder 'nowhere'"):
        folder.read(Dataset(videos="nowhere", captions=str(place / "captions.csv")), "mine")


def test_shares_must_add_up(place):
    with pytest.raises(ValueError, match="own.shares is"):
        made(place, "video,caption\na.mp4,one\n-x.avi,two\nnoending,three\n", shares=[0.5, 0.1, 0.1])


def test_the_fingerprint_of_a_shard_changes_with_its_files_and_parts_only(place):
    entry = settings(place, GOOD)
    first = folder.parts(entry, "mine")[:1]
    fingerprint = partial(folder.fingerprint, known=Known(place / "contents.json"))
    before = fingerprint(entry, first)
    (place / "videos" / "-x.avi").write_bytes(b"other")
    assert fingerprint(entry, first) == before
    assert fingerprint(entry, [(first[0][0], "1", "nan")]) != before
    (place / "videos" / "a.mp4").write_bytes(b"other")
    assert fingerprint(entry, first) != before


def test_a_line_of_another_length_says_nothing_else(place):
    said = mistakes(place, "video,caption,split,start,end\ngone.mp4,one,dev,x\na.mp4,two,three,dev,1,2,3\n")
    assert said.split("\n  ")[1:] == [
        "line 2: 4 cells instead of 5; put texts with commas into quotes",
        "line 3: 7 cells instead of 5; put texts with commas into quotes",
    ]
    assert ": 2 mistakes:" in said


def test_parts_are_told_apart_by_all_their_digits(place):
    starts = ("1234567.8", "1234567.9", "0.123456", "0.1234567", "12.50")
    videos, captions = made(
        place, "video,caption,start\n" + "".join(f"a.mp4,text {n},{start}\n" for n, start in enumerate(starts)) + "-x.avi,y,\nnoending,z,\n"
    )
    assert len(videos) == 7 == videos["video_id"].nunique() and len(captions) == 7
    found = folder.parts(Dataset(videos=str(place / "videos"), captions=str(place / "captions.csv")), "mine")
    assert [start for _, start, _ in found] == [*starts[:4], "12.5", "nan", "nan"]
    said = mistakes(place, "video,caption,start,end\na.mp4,one,1234567.8,1234567.75\n")
    assert ": 1 mistake:\n" in said and "the part from 1234567.8 to 1234567.75 seconds is empty" in said
