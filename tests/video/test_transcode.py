import errno
import json
import shutil
import subprocess
import sys

import av
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest

from pipeline.params import Clips
from pipeline.stages import transcode as stage
from pipeline.video.transcode import COLUMNS, recipe, transcode, version

SMALL = Clips(short_side=64, fps=3, crf=20)
# Frame n of a numbered video has the brightness 16 + 2n.
NUMBERED = "geq=lum=16+2*N:cb=128:cr=128"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "4", "-pix_fmt", "yuv420p")


def run(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments], check=True)


def make(path, source, *arguments):
    run("-f", "lavfi", "-i", source, *(arguments or H264), f"file:{path}")
    return path


def numbered(path, *arguments, seconds=3, size="96x72"):
    return make(path, f"nullsrc=s={size}:r=25:d={seconds},{NUMBERED}", *arguments)


def numbers(path):
    """The number of the source frame that each frame of a clip shows, and its time in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    shown = [round((float(f.to_ndarray()[: f.height].mean()) - 16) / 2) for f in frames]
    return shown, [f.time for f in frames]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return numbered(tmp_path_factory.mktemp("source") / "numbered.mp4")


def test_frame_k_is_the_one_shown_at_k_thirds_of_a_second(video, tmp_path):
    row = transcode(video, tmp_path / "a.mp4", settings=SMALL)
    shown, times = numbers(tmp_path / "a.mp4")
    assert shown == [0, 8, 16, 25, 33, 41, 50, 58, 66]
    np.testing.assert_allclose(times, np.arange(9) / 3, atol=1e-6)
    assert (row["status"], row["reason"], row["degraded"], row["out_frames"]) == ("ok", "", False, 9)


def test_a_variable_rate_keeps_its_times(tmp_path):
    # One second at 25 frames a second, then four seconds at 6.25.
    slower = "setpts='if(lt(N,25),N,25+(N-25)*4)'"
    source = make(tmp_path / "vfr.mp4", f"nullsrc=s=96x72:r=25:d=2,{NUMBERED},{slower}", *H264, "-fps_mode", "passthrough")
    row = transcode(source, tmp_path / "a.mp4", settings=SMALL)
    assert numbers(tmp_path / "a.mp4")[0] == [0, 8, 16, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47]
    assert row["status"] == "ok"


def test_a_picture_that_starts_after_its_sound_starts_the_clip(video, tmp_path):
    late, sound = tmp_path / "late.mp4", ("-f", "lavfi", "-i", "sine=d=3")
    run("-itsoffset", "0.5", "-i", str(video), *sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", str(late))
    row = transcode(late, tmp_path / "a.mp4", settings=SMALL)
    shown, times = numbers(tmp_path / "a.mp4")
    assert shown == [0, 8, 16, 25, 33, 41, 50, 58, 66]
    assert times[0] == 0
    assert (row["status"], row["has_audio"]) == ("ok", True)


def test_the_clip_has_one_stream_with_a_keyframe_each_second(video, tmp_path):
    transcode(video, tmp_path / "a.mp4", settings=SMALL)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 3)
        keys = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
    assert keys == [True, False, False] * 3


@pytest.mark.parametrize(
    ("size", "out"),
    [("320x240", (298, 224)), ("240x320", (224, 298)), ("321x243", (296, 224)), ("100x100", (224, 224))],
)
def test_the_short_side_is_exact_and_the_shape_kept(tmp_path, size, out):
    source = make(tmp_path / "a.avi", f"testsrc=s={size}:r=5:d=1", "-c:v", "mjpeg")
    row = transcode(source, tmp_path / "a.mp4", settings=Clips())
    assert (row["status"], row["out_width"], row["out_height"]) == ("ok", *out)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == out


def test_a_rotation_tag_is_obeyed(video, tmp_path):
    run("-display_rotation", "90", "-i", str(video), "-c", "copy", str(tmp_path / "turned.mp4"))
    row = transcode(tmp_path / "turned.mp4", tmp_path / "a.mp4", settings=SMALL)
    assert (row["rotation"], row["width"], row["height"]) == (90, 96, 72)
    assert (row["out_width"], row["out_height"]) == (64, 86)


def test_a_stream_that_changes_its_size_keeps_its_clock(tmp_path):
    first = numbered(tmp_path / "1.ts", seconds=2)
    wider = "nullsrc=s=160x72:r=25:d=2,geq=lum=16+2*(N+50):cb=128:cr=128"
    second = make(tmp_path / "2.ts", wider, *H264, "-output_ts_offset", "2")
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    row = transcode(tmp_path / "both.ts", tmp_path / "a.mp4", settings=SMALL)
    assert (row["out_frames"], row["out_width"], row["out_height"]) == (12, 86, 64)
    assert numbers(tmp_path / "a.mp4")[0] == [0, 8, 16, 25, 33, 41, 50, 58, 66, 75, 83, 91]


def test_one_frame_gives_one_frame(tmp_path):
    row = transcode(numbered(tmp_path / "one.mp4", seconds=0.04), tmp_path / "a.mp4", settings=SMALL)
    assert (row["status"], row["n_frames"], row["out_frames"]) == ("ok", 1, 1)


def test_a_webm_is_read_whatever_its_name(tmp_path):
    source = numbered(tmp_path / "a.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M")
    row = transcode(source.rename(tmp_path / "nameless"), tmp_path / "a.mp4", settings=SMALL)
    assert (row["status"], row["codec"], row["out_frames"]) == ("ok", "vp9", 9)


def test_two_runs_give_the_same_bytes_and_the_same_row(video, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    copy = shutil.copy(video, other / video.name)
    first = transcode(video, tmp_path / "a.mp4", settings=SMALL)
    second = transcode(copy, other / "b.mp4", settings=SMALL)
    assert (tmp_path / "a.mp4").read_bytes() == (other / "b.mp4").read_bytes()
    assert first == second
    assert len(first["out_sha256"]) == len(first["src_sha256"]) == 64


def test_a_name_that_begins_with_a_dash_is_a_name(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, tmp_path / "-vn.mp4")
    row = transcode(tmp_path.joinpath("-vn.mp4").relative_to(tmp_path), tmp_path.joinpath("-y.mp4").relative_to(tmp_path), settings=SMALL)
    assert row["status"] == "ok"
    assert (tmp_path / "-y.mp4").is_file()


def cut(source, target, share):
    run("-i", str(source), "-c", "copy", "-movflags", "+faststart", str(target))
    target.write_bytes(target.read_bytes()[: int(target.stat().st_size * share)])
    return target


def test_a_cut_off_video_is_degraded_and_says_how_much_is_left(tmp_path):
    source = cut(make(tmp_path / "whole.mp4", "testsrc=s=96x72:r=25:d=8"), tmp_path / "cut.mp4", 0.5)
    row = transcode(source, tmp_path / "a.mp4", settings=SMALL)
    assert (row["status"], row["degraded"], row["duration"]) == ("degraded", True, 8.0)
    assert 1 <= row["out_frames"] < 20
    assert "decoding reports an error" in row["reason"]
    assert f"{row['out_frames']} frames, where 8 seconds promise 24" in row["reason"]
    assert "0x" not in row["reason"] and str(tmp_path) not in row["reason"]
    assert row == transcode(source, tmp_path / "b.mp4", settings=SMALL)


def test_damage_in_the_middle_is_degraded_with_all_frames(tmp_path):
    source = make(tmp_path / "a.mp4", "testsrc2=s=96x72:r=25:d=4")
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    source.write_bytes(data)
    row = transcode(source, tmp_path / "b.mp4", settings=SMALL)
    assert row["status"] == "degraded"
    assert abs(row["out_frames"] - 12) <= 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", "empty.mp4 is empty"),
        ("headless.mp4", "headless.mp4 is not a readable video file"),
        ("page.mp4", "page.mp4 is not a readable video file"),
        ("sound.m4a", "sound.m4a holds no video stream"),
    ],
)
def test_a_file_without_a_picture_is_a_row_with_a_reason(video, tmp_path, name, reason):
    source = tmp_path / name
    if name == "sound.m4a":
        make(source, "sine=d=1", "-c:a", "aac")
    else:
        content = {"empty.mp4": b"", "page.mp4": b"<html>404</html>" * 99, "headless.mp4": video.read_bytes()[:3000]}
        source.write_bytes(content[name])
    row = transcode(source, tmp_path / "out.mp4", settings=SMALL)
    assert row["status"] == "unreadable"
    assert row["reason"].startswith(reason)
    assert row["src_bytes"] == source.stat().st_size
    assert row["out_frames"] is None
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_that_is_not_there_is_missing(tmp_path):
    row = transcode(tmp_path / "gone.mp4", tmp_path / "a.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["src_bytes"]) == ("missing", "there is no such file", None)
    assert set(row) == set(COLUMNS) - {"video_id", "out_path"}


def test_a_video_that_takes_too_long_is_unreadable(video, tmp_path):
    row = transcode(video, tmp_path / "a.mp4", settings=SMALL, timeout=0.001)
    assert (row["status"], row["reason"]) == ("unreadable", "numbered.mp4 took more than 0.001 seconds to decode")
    assert list(tmp_path.iterdir()) == []


def test_an_odd_short_side_is_refused(video, tmp_path):
    with pytest.raises(ValueError, match="even short_side"):
        transcode(video, tmp_path / "a.mp4", settings=Clips(short_side=225))


def test_a_full_disk_is_not_the_fault_of_the_video(video, tmp_path):
    program = f"""
import resource, sys
from pathlib import Path
from pipeline.params import Clips
from pipeline.video.transcode import transcode
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    transcode(Path({str(video)!r}), Path({str(tmp_path / "a.mp4")!r}), settings=Clips(short_side=64))
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_the_fault_of_the_video(video, tmp_path):
    with pytest.raises(FileNotFoundError):
        transcode(video, tmp_path / "no" / "a.mp4", settings=SMALL)


def test_the_recipe_changes_with_each_setting_and_names_its_ffmpeg():
    settings = [Clips(), Clips(short_side=256), Clips(fps=4), Clips(crf=21)]
    assert len({recipe(s) for s in settings}) == 4
    assert recipe(Clips()) == recipe(Clips(shard=7))
    assert len(recipe(Clips())) == 12
    assert version() in imageio_ffmpeg.get_ffmpeg_version()


def shard(folder, videos, monkeypatch, *, shard=0, shards=2):
    pd.DataFrame(videos, columns=["video_id", "src_path"]).to_parquet(folder / "videos.parquet")
    settings = json.dumps({"short_side": 64, "fps": 3, "crf": 20, "shard": 2})
    places = ["--videos", "videos.parquet", "--raw", "raw", "--clips", f"clips/{shard:03}", "--report", f"shards/{shard}.parquet"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["x", *places, "--shard", str(shard), "--shards", str(shards), "--settings", settings])
    stage.main()
    return pd.read_parquet(folder / f"shards/{shard}.parquet")


def test_a_shard_takes_every_second_row_and_reports_each(video, tmp_path, monkeypatch, capsys):
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    shutil.copy(video, tmp_path / "raw" / "sub" / "a.mp4")
    videos = [("-a", "sub/a.mp4"), ("b", "b.mp4"), ("c", "c.mp4")]
    report = shard(tmp_path, videos, monkeypatch)
    assert report.columns.tolist() == list(COLUMNS)
    assert report["video_id"].tolist() == ["-a", "c"]
    assert report["status"].tolist() == ["ok", "missing"]
    assert report["out_path"].tolist() == ["000/-a.mp4", ""]
    assert [p.name for p in (tmp_path / "clips").iterdir()] == ["000"]
    assert [p.name for p in (tmp_path / "clips" / "000").iterdir()] == ["-a.mp4"]
    assert capsys.readouterr().err.splitlines() == ["transcode: 1 of 2", "transcode: 2 of 2"]
    first = (tmp_path / "shards/0.parquet").read_bytes()
    shard(tmp_path, videos, monkeypatch)
    assert (tmp_path / "shards/0.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("video_id", "src_path"),
    [("a", "../a.mp4"), ("a", "/etc/passwd"), ("../a", "a.mp4"), ("", "a.mp4")],
)
def test_a_name_that_leaves_its_folder_is_refused(tmp_path, monkeypatch, video_id, src_path):
    with pytest.raises(ValueError, match=r"videos\.parquet: "):
        shard(tmp_path, [(video_id, src_path)], monkeypatch, shards=1)
    assert not (tmp_path / "clips").exists()
