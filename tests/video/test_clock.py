"""Times are those of a player, whose clock starts with the earliest stream of a file and not with the first picture."""

import pytest

from pipeline.config.dataset import Clips
from pipeline.video import transcode
from pipeline.video.probe import probe
from tests.video.numbered import H264, numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
SOUND = ("-f", "lavfi", "-i", "sine=d=7", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-b:a", "32k")
AAC = ("-c:a", "aac")
CODECS = {
    "late.mp4": (*SOUND, *AAC),
    "fragments.mp4": (*SOUND, *AAC, "-movflags", "+frag_keyframe+delay_moov"),
    "late.mov": (*SOUND, "-c:a", "pcm_s16le"),
    "late.mkv": (*SOUND, "-c:a", "flac"),
    # Its clock starts at 1.4 s, or thereabouts.
    "late.ts": (*SOUND, "-c:a", "mp2"),
    "far.ts": (*SOUND, "-c:a", "mp2", "-output_ts_offset", "5000"),
    "late.flv": (*SOUND, "-c:a", "pcm_s16le", "-ar", "11025"),
    # Its format cannot say that a picture comes late: the first one stands there from the beginning.
    "late.avi": (*SOUND[:-4], "-c:v", "mpeg4", "-qscale:v", "2", "-c:a", "mp2", "-fps_mode", "passthrough"),
    "late.webm": (*SOUND[:-4], "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-c:a", "libvorbis"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Four seconds at 25 frames a second, from 0 s."""
    return numbered(tmp_path_factory.mktemp("clock") / "plain.mp4", *H264, "-g", "25", seconds=4)


def late(plain, name):
    """The same pictures from 2.2 s of a player's clock, sound from 0 s."""
    run("-itsoffset", "2.2", "-i", plain, *CODECS[name], plain.with_name(name))
    return plain.with_name(name)


@pytest.mark.parametrize("name", CODECS)
def test_a_part_is_what_a_player_shows_at_its_times(plain, tmp_path, name):
    source = late(plain, name)
    first = probe(source).late
    assert first == (0.0 if name == "late.avi" else pytest.approx(2.2, abs=0.09))  # the sound of some containers has a run-up
    row = transcode.transcode(source, tmp_path / "a.mp4", settings=SMALL, start=4.0, end=5.0)
    assert (row["status"], row["reason"], row["late"], row["out_start"]) == ("ok", "", first, 4.0)
    assert numbers(tmp_path / "a.mp4")[0] == [int((4.0 + k / 3 - (first or 2.2) + 0.0006) * 25) for k in range(3)]


def test_frames_of_a_part_by_hand(plain, tmp_path):
    row = transcode.transcode(late(plain, "late.mp4"), tmp_path / "a.mp4", settings=SMALL, start=4.0, end=5.0)
    # Frame n is on screen at 2.2 + n/25 s.
    assert (numbers(tmp_path / "a.mp4")[0], row["late"]) == ([45, 53, 61], 2.2)


@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (1.5, 3.0), (None, 3.0)])
def test_a_part_that_begins_before_the_first_picture_begins_with_it(plain, tmp_path, start, end):
    row = transcode.transcode(late(plain, "late.mp4"), tmp_path / "a.mp4", settings=SMALL, start=start, end=end)
    assert (row["status"], row["reason"], row["out_start"]) == ("ok", "", 2.2)
    assert numbers(tmp_path / "a.mp4")[0] == [0, 8, 16]


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (0.5, 2.0, "the segment ends at 2 seconds, and the first picture is shown at 2.2"),
        (6.5, 8.0, "the segment starts at 6.5 seconds, and the video ends at 6.2"),
    ],
)
def test_a_part_without_a_picture_is_unreadable_and_says_a_players_times(plain, tmp_path, start, end, why):
    row = transcode.transcode(late(plain, "late.mp4"), tmp_path / "a.mp4", settings=SMALL, start=start, end=end)
    assert (row["status"], row["reason"], row["out_start"]) == ("unreadable", why, None)


def test_a_part_that_ends_after_the_video_says_a_players_times(plain, tmp_path):
    row = transcode.transcode(late(plain, "late.mp4"), tmp_path / "a.mp4", settings=SMALL, start=4.0, end=8.0)
    assert (row["status"], row["reason"]) == ("degraded", "the segment ends at 8 seconds, and the video at 6.2")


@pytest.mark.parametrize("seconds", [0, 2])
def test_the_clip_of_a_whole_file_does_not_wait_for_its_first_picture(plain, tmp_path, seconds):
    settings = Clips(short_side=64, fps=3, seconds=seconds)
    rows = [transcode.transcode(source, tmp_path / "a.mp4", settings=settings) for source in (plain, late(plain, "late.mp4"))]
    assert [row["out_start"] for row in rows] == [0.0, 2.2] and [row["status"] for row in rows] == ["ok", "ok"]
    assert rows[0]["out_sha256"] == rows[1]["out_sha256"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("raw.m2v", ("-c:v", "mpeg2video", "-bf", "2")),
        ("raw.h264", ("-c:v", "libx264", "-bf", "2")),
        ("no-edits.mp4", ("-c:v", "libx264", "-bf", "2", "-use_editlist", "0")),
        ("late.nut", ("-c:v", "libx264", "-bf", "2", "-output_ts_offset", "7")),
    ],
)
def test_pictures_alone_are_never_late(plain, name, arguments):
    # The first picture is decoded after those that it is needed for, or its clock does not begin at 0.
    run("-i", plain, *arguments, plain.with_name(name))
    assert probe(plain.with_name(name)).late == 0.0


def test_an_edit_list_that_hides_pictures_moves_no_time(plain, tmp_path):
    sounding = plain.with_name("sounding.mp4")
    run("-i", plain, *SOUND, *AAC, sounding)
    run("-ss", "1.52", "-i", sounding, "-c", "copy", plain.with_name("edited.mp4"))
    row = transcode.transcode(plain.with_name("edited.mp4"), tmp_path / "a.mp4", settings=SMALL, start=1.0, end=2.0)
    shown = [int((1.52 + 1.0 + k / 3 + 1e-5) * 25) for k in range(3)]
    assert (row["status"], numbers(tmp_path / "a.mp4")[0]) == ("ok", shown)
    assert row["late"] < 0.04
