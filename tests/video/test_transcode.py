import errno
import shutil
import subprocess
import sys

import av
import imageio_ffmpeg
import numpy as np
import pytest

from pipeline.config.dataset import Clips
from pipeline.video.command import recipe, version
from pipeline.video.transcode import COLUMNS, transcode
from tests.video.numbered import H264, make, numbered, numbers

SMALL = Clips(short_side=64, fps=3, crf=20)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return numbered(tmp_path_factory.mktemp("source") / "numbered.mp4")


def test_frame_k_is_the_one_shown_at_k_thirds_of_a_second(video, tmp_path):
    row = transcode(video, tmp_path / "a.mp4", settings=SMALL)
    shown, times = numbers(tmp_path / "a.mp4")
    assert shown == [0, 8, 16, 25, 33, 41, 50, 58, 66]
    np.testing.assert_allclose(times, np.arange(9) / 3, atol=1e-6)
    assert (row["status"], row["reason"], row["degraded"], row["out_frames"]) == ("ok", "", False, 9)


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


def test_a_stream_that_changes_its_size_keeps_its_clock(tmp_path):
    first = numbered(tmp_path / "1.ts", seconds=2)
    second = numbered(tmp_path / "2.ts", *H264, "-output_ts_offset", "2", seconds=2, size="160x72", first=50)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    row = transcode(tmp_path / "both.ts", tmp_path / "a.mp4", settings=SMALL)
    assert (row["out_frames"], row["out_width"], row["out_height"]) == (12, 86, 64)
    assert numbers(tmp_path / "a.mp4")[0] == [0, 8, 16, 25, 33, 41, 50, 58, 66, 75, 83, 91]


def test_two_runs_give_the_same_bytes_and_the_same_row(video, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    copy = shutil.copy(video, other / video.name)
    first = transcode(video, tmp_path / "a.mp4", settings=SMALL)
    second = transcode(copy, other / "b.mp4", settings=SMALL)
    assert (tmp_path / "a.mp4").read_bytes() == (other / "b.mp4").read_bytes()
    assert first == second
    assert len(first["out_sha256"]) == len(first["src_sha256"]) == 64


def test_damage_in_the_middle_is_degraded_with_all_frames(tmp_path):
    source = make(tmp_path / "a.mp4", "testsrc2=s=96x72:r=25:d=4")
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    source.write_bytes(data)
    row = transcode(source, tmp_path / "b.mp4", settings=SMALL)
    assert row["status"] == "degraded"
    assert abs(row["out_frames"] - 12) <= 2


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
from pipeline.config.dataset import Clips
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
    changed = [Clips(short_side=256), Clips(fps=4), Clips(crf=21), Clips(seconds=30), Clips(seconds=31), Clips(pixels="stored")]
    assert len({recipe(s) for s in (Clips(), *changed)}) == 7
    assert recipe(Clips()) == recipe(Clips(shard=7))
    assert len(recipe(Clips())) == 12
    assert version() in imageio_ffmpeg.get_ffmpeg_version()
