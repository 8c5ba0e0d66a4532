"""A part of a video: frame k of its clip is what the video shows at start + k/fps, whether it was jumped to or not."""

import bisect
import functools
import math

import av
import pytest

from pipeline.config.dataset import Clips
from pipeline.video import command, encode, transcode
from tests.video.numbered import H264, numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
B_FRAMES = ("-c:v", "libx264", "-preset", "fast", "-qp", "6", "-bf", "3", "-pix_fmt", "yuv420p")
SLOWER = ",setpts='if(lt(N,250),N,250+(N-250)*4)'"
SLIDES = ",setpts='N*400'"
# 40 seconds and more, with keyframes at most ten seconds apart.
LONG = {
    "plain.mp4": (H264, {}),
    "b-frames.mp4": ((*B_FRAMES, "-g", "60"), {"rate": "30000/1001"}),
    "open-gop.mp4": ((*B_FRAMES, "-x264-params", "open-gop=1:keyint=50"), {"rate": "30"}),
    "fragments.mp4": ((*B_FRAMES, "-g", "50", "-movflags", "+frag_keyframe+empty_moov"), {}),
    "vfr.mp4": ((*B_FRAMES, "-g", "30", "-fps_mode", "passthrough"), {"seconds": 20, "then": SLOWER}),
    # 16 seconds each: a segment may begin long after the picture that it shows first.
    "slides.mp4": ((*B_FRAMES, "-fps_mode", "passthrough"), {"seconds": 0.24, "then": SLIDES}),
    "a.mkv": ((*B_FRAMES, "-g", "45"), {"rate": "30"}),
    "a.webm": (("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-g", "100"), {"rate": "30"}),
    "late.mkv": ((*B_FRAMES, "-g", "50", "-output_ts_offset", "100"), {}),
    "late.ts": ((*B_FRAMES, "-g", "50", "-output_ts_offset", "1000"), {}),
    "a.avi": (("-c:v", "mpeg4", "-bf", "2", "-qscale", "2", "-g", "40"), {}),
}
SPANS = [(0.05, 4.0), (9.99, 12.0), (10.5, 14.0), (20.0, 22.0), (33.333, 36.0), (37.37, 38.6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    for name, (arguments, how) in LONG.items():
        numbered(folder / name, *arguments, **{"seconds": 40, **how})
    for name, source in {"sound-first.mp4": "b-frames.mp4", "sound-first.mkv": "a.mkv"}.items():
        sound = ("-f", "lavfi", "-i", "sine=d=42.5", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
        run("-itsoffset", "2.5", "-i", folder / source, *sound, folder / name)
    # An edit list, which hides the frames between a keyframe and the first picture.
    run("-ss", "1.3", "-i", folder / "b-frames.mp4", "-c", "copy", folder / "edited.mp4")
    return folder


decoded = functools.cache(numbers)


def shown(path, start, end, *, fps=3):
    """The number that is on screen at each of the times start + k/fps of a player: decode everything, then choose."""
    found, times = decoded(path)
    with av.open(str(path)) as container:
        zero = container.start_time / av.time_base
    times = [time - zero for time in times]
    start = max(start, times[0])
    # A clock of milliseconds rounds by half of one.
    late = 0.0005001 if path.suffix in (".mkv", ".webm") else 1e-5
    return [found[bisect.bisect_right(times, start + k / fps + late) - 1] for k in range(math.ceil(round((end - start) * fps, 3)))]


@pytest.mark.parametrize("name", [*LONG, "sound-first.mp4", "sound-first.mkv", "edited.mp4"])
def test_a_segment_shows_what_is_on_screen_at_its_times(folder, tmp_path, name, monkeypatch):
    commands = spied(monkeypatch)
    for start, end in SPANS:
        row = transcode.transcode(folder / name, tmp_path / "a.mp4", settings=SMALL, start=start, end=end)
        assert (row["status"], row["reason"]) == ("ok", ""), (start, end)
        assert numbers(tmp_path / "a.mp4")[0] == shown(folder / name, start, end), (start, end)
    jumps = sum("-ss" in arguments for arguments in commands)
    # Pictures that come 2.5 seconds late: one segment starts less than ten seconds after the first.
    assert jumps == (0 if name in ("late.ts", "a.avi") else 3 if name.startswith("sound-first") else 4)
    # A decoder may miss the pictures before the one that it jumped to, which is an error; then it starts at the beginning.
    assert len(commands) == len(SPANS) + (name == "open-gop.mp4")


def spied(monkeypatch):
    """The list that the commands which are run are added to."""
    commands, run_command = [], encode._run
    monkeypatch.setattr(encode, "_run", lambda arguments, **how: commands.append(arguments) or run_command(arguments, **how))
    return commands


@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mp4", "a.webm", "sound-first.mkv"])
def test_a_jump_gives_the_bytes_that_decoding_from_the_beginning_gives(folder, tmp_path, name, monkeypatch):
    jumped = transcode.transcode(folder / name, tmp_path / "a.mp4", settings=SMALL, start=23.45, end=29.0)
    monkeypatch.setattr(transcode, "JUMP", math.inf)
    whole = transcode.transcode(folder / name, tmp_path / "b.mp4", settings=SMALL, start=23.45, end=29.0)
    assert jumped == whole
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_jump_that_goes_too_far_is_not_believed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "LEAD", -6.0)
    commands = spied(monkeypatch)
    row = transcode.transcode(folder / "b-frames.mp4", tmp_path / "a.mp4", settings=SMALL, start=20.0, end=22.0)
    assert (len(commands), row["status"], row["reason"]) == (2, "ok", "")
    assert numbers(tmp_path / "a.mp4")[0] == shown(folder / "b-frames.mp4", 20.0, 22.0)


def test_what_lies_far_before_a_segment_is_not_even_decoded(folder, tmp_path):
    data = bytearray((folder / "b-frames.mp4").read_bytes())
    data[len(data) // 4 : len(data) // 4 + 500] = b"\xff" * 500
    (tmp_path / "damaged.mp4").write_bytes(data)
    of = {"settings": SMALL, "end": 32.0}
    assert transcode.transcode(tmp_path / "damaged.mp4", tmp_path / "a.mp4", start=30.0, **of)["status"] == "ok"
    assert transcode.transcode(tmp_path / "damaged.mp4", tmp_path / "a.mp4", start=5.0, **of)["status"] == "degraded"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Three seconds at 25 frames a second."""
    return numbered(tmp_path_factory.mktemp("short") / "video.mp4")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, 1.0, [0, 8, 16]),
        (0.0, 0.4, [0, 8]),
        (1.0, 2.0, [25, 33, 41]),
        # Frame 26 begins at 1.04 and is still there at 1.05; frame 34 at 1.383, frame 42 at 1.717.
        (1.05, 2.05, [26, 34, 42]),
        (2.0, None, [50, 58, 66]),
        (2.99, None, [74]),
        (1.0, 1.001, [25]),
    ],
)
def test_frames_of_a_segment_by_hand(video, tmp_path, start, end, expected):
    row = transcode.transcode(video, tmp_path / "a.mp4", settings=SMALL, start=start, end=end)
    found, times = numbers(tmp_path / "a.mp4")
    assert (row["status"], row["reason"], found) == ("ok", "", expected)
    assert times == pytest.approx([k / 3 for k in range(len(found))])
    assert row["recipe"] == command.recipe(SMALL)


@pytest.mark.parametrize(
    ("seconds", "start", "end", "expected"),
    [
        (1, None, None, [0, 8, 16]),
        (1, 0.5, None, [12, 20, 29]),
        (0.5, 1.0, 2.0, [25, 33]),
        (30, None, None, [0, 8, 16, 25, 33, 41, 50, 58, 66]),
        (1, 2.0, 9.0, [50, 58, 66]),
    ],
)
def test_no_more_than_the_first_seconds_are_taken(video, tmp_path, seconds, start, end, expected):
    settings = Clips(short_side=64, seconds=seconds)
    row = transcode.transcode(video, tmp_path / "a.mp4", settings=settings, start=start, end=end)
    assert (row["status"], row["reason"], numbers(tmp_path / "a.mp4")[0]) == ("ok", "", expected)


@pytest.mark.parametrize("start", [3.0, 3.5])
def test_a_segment_that_starts_after_the_video_is_unreadable(video, tmp_path, start):
    row = transcode.transcode(video, tmp_path / "a.mp4", settings=SMALL, start=start, end=99.0)
    assert (row["status"], row["reason"]) == ("unreadable", f"the segment starts at {start:g} seconds, and the video ends at 3")
    assert row["recipe"] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("end", "reason"), [(3.6, ""), (3.7, "the segment ends at 3.7 seconds, and the video at 3")])
def test_a_segment_that_ends_after_the_video_is_degraded_if_frames_are_missing(video, tmp_path, end, reason):
    row = transcode.transcode(video, tmp_path / "a.mp4", settings=SMALL, start=1.0, end=end)
    assert (row["status"], row["reason"]) == ("degraded" if reason else "ok", reason)
    assert numbers(tmp_path / "a.mp4")[0] == [25, 33, 41, 50, 58, 66]


def test_a_segment_of_which_a_part_is_lost_is_degraded_and_says_how_much_is_there(tmp_path):
    whole = numbered(tmp_path / "whole.mp4", *H264, "-g", "25", "-movflags", "+faststart", seconds=8)
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    row = transcode.transcode(tmp_path / "cut.mp4", tmp_path / "a.mp4", settings=SMALL, start=1.0, end=7.0)
    assert row["status"] == "degraded"
    assert f"the clip has {row['out_frames']} frames, where 6 seconds promise 18" in row["reason"]
    assert numbers(tmp_path / "a.mp4")[0] == [25 + k * 25 // 3 for k in range(row["out_frames"])]
    row = transcode.transcode(tmp_path / "cut.mp4", tmp_path / "b.mp4", settings=SMALL, start=6.0, end=7.0)
    assert (row["status"], row["reason"][:47]) == ("unreadable", "the segment starts at 6 seconds, and the video ")


@pytest.mark.parametrize(
    ("start", "end"), [(2.0, 2.0), (2.0, 1.0), (-1.0, 2.0), (math.nan, 2.0), (1.0, math.nan), (None, 0.0), (math.inf, None)]
)
def test_times_that_no_video_can_satisfy_are_refused(video, tmp_path, start, end):
    with pytest.raises(ValueError, match="a segment needs 0 <= start < end"):
        transcode.transcode(video, tmp_path / "a.mp4", settings=SMALL, start=start, end=end)
