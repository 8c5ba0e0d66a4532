"""One row for each kind of file that a dataset may hold: the right pictures at the right times, or the reason why not."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from pipeline.config.dataset import Clips
from pipeline.video.transcode import transcode
from tests.video.numbered import H264, make, numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
# What is on screen at k/3 seconds of three seconds at 25 frames a second.
THIRDS = [0, 8, 16, 25, 33, 41, 50, 58, 66]
FAST_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
AV1 = ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "15")
QUALITY = ("-qscale:v", "2")


@dataclass(frozen=True)
class Kind:
    """A numbered video as `arguments` encode it, of the picture that `how` describes."""

    name: str
    codec: str
    arguments: tuple[str, ...]
    how: tuple[tuple[str, str | float], ...] = ()
    out: tuple[int, int] = (86, 64)
    shown: tuple[int, ...] = tuple(THIRDS)


def kind(name, codec, *arguments, out=(86, 64), shown=THIRDS, **how):
    return pytest.param(Kind(name, codec, arguments, tuple(how.items()), out, tuple(shown)), id=name)


KINDS = [
    kind("landscape.mp4", "h264", *H264),
    kind("portrait.mp4", "h264", *H264, size="72x96", out=(64, 86)),
    kind("square.mp4", "h264", *H264, size="80x80", out=(64, 64)),
    kind("odd.mkv", "h264", *H264[:-1], "yuv444p", size="321x243", out=(84, 64)),
    kind("one-frame.mp4", "h264", *H264, seconds=0.04, shown=[0]),
    kind("three-frames.avi", "mpeg4", "-c:v", "mpeg4", *QUALITY, seconds=0.12, shown=[0]),
    kind("b-frames.mp4", "h264", "-c:v", "libx264", "-bf", "3", "-g", "30", "-pix_fmt", "yuv420p"),
    kind("open-gop.mkv", "h264", "-c:v", "libx264", "-x264-params", "open-gop=1:keyint=10:bframes=3", "-pix_fmt", "yuv420p"),
    kind("ten-bit.mp4", "h264", *H264[:-1], "yuv420p10le"),
    kind("hevc.mp4", "hevc", *HEVC),
    kind("hevc-ten-bit.mkv", "hevc", *HEVC[:-1], "yuv420p10le"),
    kind("av1.mp4", "av1", *AV1),
    kind("av1.webm", "av1", *AV1),
    kind("vp9.webm", "vp9", *FAST_VP9),
    kind("vp8.webm", "vp8", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M"),
    kind("mpeg4.avi", "mpeg4", "-c:v", "mpeg4", *QUALITY),
    kind("mpeg4-b-frames.avi", "mpeg4", "-c:v", "mpeg4", "-bf", "2", *QUALITY),
    kind("xvid.divx", "mpeg4", "-c:v", "libxvid", *QUALITY, "-f", "avi"),
    kind("h264.avi", "h264", *H264),
    kind("h263.3gp", "h263", "-c:v", "h263", *QUALITY, size="176x144", out=(78, 64)),
    kind("h263-pal.3gp", "h263", "-c:v", "h263", *QUALITY, size="176x144", then=",setsar=12/11", out=(86, 64)),
    kind("mpeg4.3g2", "mpeg4", "-c:v", "mpeg4", *QUALITY),
    kind("wmv2.wmv", "wmv2", "-c:v", "wmv2", *QUALITY),
    kind("msmpeg4.asf", "msmpeg4v3", "-c:v", "msmpeg4", *QUALITY),
    kind("h264.mts", "h264", "-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p", "-output_ts_offset", "1000"),
    kind("mpeg2.m2ts", "mpeg2video", "-c:v", "mpeg2video", "-bf", "2", *QUALITY),
    kind("mpeg1.mpg", "mpeg1video", "-c:v", "mpeg1video", "-bf", "2", *QUALITY),
    kind("mpeg2.vob", "mpeg2video", "-c:v", "mpeg2video", "-bf", "2", *QUALITY, "-f", "vob"),
    kind("sorenson.flv", "flv1", "-c:v", "flv", *QUALITY),
    kind("h264.flv", "h264", *H264),
    kind("mjpeg.avi", "mjpeg", "-c:v", "mjpeg", *QUALITY, "-pix_fmt", "yuvj422p"),
    kind("prores.mov", "prores", "-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    kind("theora.ogv", "theora", "-c:v", "libtheora", "-qscale:v", "9"),
    kind("dv.dv", "dvvideo", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", size="720x576", then=",setsar=16/15"),
    kind("real.rm", "rv20", "-c:v", "rv20", *QUALITY),
    # Neither says how long it is.
    kind("raw.h264", "h264", *H264, "-bf", "2"),
    kind("raw.mjpeg", "mjpeg", "-c:v", "mjpeg", *QUALITY),
    kind("thirds.avi", "mpeg4", "-c:v", "mpeg4", *QUALITY, rate="3", seconds=9, shown=range(27)),
    # A clock of milliseconds says 0.667 for 2/3 of a second, 0.067 for 2/30 ...
    kind("thirds.webm", "vp9", *FAST_VP9, rate="3", seconds=9, shown=range(27)),
    kind("sixths.mkv", "h264", *H264, rate="6", seconds=6, shown=range(0, 36, 2)),
    kind("thirtieths.flv", "h264", *H264, rate="30", shown=range(0, 90, 10)),
    kind("ntsc.mp4", "h264", *H264, rate="30000/1001", shown=[0, 9, 19, 29, 39, 49, 59, 69, 79, 89]),
    # One second at 25 frames a second, then four seconds at 6.25.
    kind("vfr.mp4", "h264", *H264, "-fps_mode", "passthrough", then=",setpts='if(lt(N,25),N,25+(N-25)*4)'", seconds=2, shown=[
        0, 8, 16, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47]),
    kind("vfr.webm", "vp9", *FAST_VP9, "-fps_mode", "passthrough", then=",setpts='if(lt(N,25),N,25+(N-25)*4)'", seconds=2, shown=[
        0, 8, 16, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47]),
    # 128x72, 48x72 and, of pixels that nothing is known about, 96x72 as a player shows them.
    kind("wide-pixels.mp4", "h264", *H264, then=",setsar=4/3", out=(114, 64)),
    kind("tall-pixels.mkv", "h264", *H264, then=",setsar=1/2", out=(64, 96)),
    kind("unknown-pixels.mp4", "h264", *H264, then=",setsar=0/1"),
]  # fmt: skip


@pytest.mark.parametrize("given", KINDS)
def test_each_kind_of_video_shows_the_right_frames_at_the_right_times(given, tmp_path):
    row = transcode(numbered(tmp_path / given.name, *given.arguments, **dict(given.how)), tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["codec"]) == ("ok", "", given.codec)
    check_clip(tmp_path / "clip.mp4", row, given.shown, out=given.out)


def check_clip(path, row, shown, *, out=(86, 64), turned=0):
    found, times = numbers(path, turned=turned)
    assert found == list(shown)
    np.testing.assert_allclose(times, np.arange(len(found)) / 3, atol=1e-6)
    assert (row["out_frames"], row["out_width"], row["out_height"]) == (len(found), *out)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Three seconds with sound, and with their index in front of them."""
    folder = tmp_path_factory.mktemp("base")
    silent = numbered(folder / "silent.mp4")
    sound = ("-f", "lavfi", "-i", "sine=d=3", "-c:v", "copy", "-c:a", "aac", "-movflags", "+faststart")
    run("-i", silent, *sound, folder / "video.mp4")
    return folder / "video.mp4"


NAMES = [
    "-vn.mp4", "two words.mp4", "müde Größe 日本.mp4", "it's \"quoted\".mp4", "a:b;c,d[e]=f\\g.mp4", "100%.mp4", "%03d.mp4", "*.mp4",
    "nothing", "dot.", ".mp4", "picture.png", "list.m3u8", "concat:a|b.mp4", "http:a.mp4", "$HOME & `x`.mp4", "-", "file:a.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(video, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(video.read_bytes())
    row = transcode(Path(name), Path(f"{name} clip"), settings=SMALL)
    assert (row["status"], row["reason"]) == ("ok", "")
    check_clip(tmp_path / f"{name} clip", row, THIRDS)


@pytest.mark.parametrize(("turned", "out"), [(90, (64, 86)), (180, (86, 64)), (270, (64, 86))])
def test_a_rotation_tag_is_obeyed(video, tmp_path, turned, out):
    run("-display_rotation", str(turned), "-i", video, "-c", "copy", tmp_path / "turned.mp4")
    row = transcode(tmp_path / "turned.mp4", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["rotation"] % 360, row["width"], row["height"], row["status"]) == (turned, 96, 72, "ok")
    check_clip(tmp_path / "clip.mp4", row, THIRDS, out=out, turned=turned)


@pytest.mark.parametrize(("sar", "turned", "square", "stored"), [
    ("4/3", 0, (114, 64), (86, 64)),
    ("4/3", 90, (64, 114), (64, 86)),
    ("1/2", 0, (64, 96), (86, 64)),
    ("1/2", 90, (96, 64), (64, 86)),
])  # fmt: skip
def test_pixels_that_are_not_square_are_shown_as_a_player_does_or_as_stored(tmp_path, sar, turned, square, stored):
    flat = numbered(tmp_path / "flat.mp4", then=f",setsar={sar}")
    run("-display_rotation", str(turned), "-i", flat, "-c", "copy", tmp_path / "video.mp4")
    for pixels, out in (("square", square), ("stored", stored)):
        row = transcode(tmp_path / "video.mp4", tmp_path / "clip.mp4", settings=Clips(short_side=64, pixels=pixels))
        assert (row["status"], row["sar"]) == ("ok", sar.replace("/", ":"))
        check_clip(tmp_path / "clip.mp4", row, THIRDS, out=out, turned=turned)


def test_the_pixels_of_a_clip_are_square(tmp_path):
    transcode(numbered(tmp_path / "video.mp4", then=",setsar=4/3"), tmp_path / "clip.mp4", settings=SMALL)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio in (1, None)


@pytest.mark.parametrize("in_front", [False, True])
def test_a_cover_picture_is_not_the_video(video, tmp_path, in_front):
    cover, path = make(tmp_path / "cover.png", "testsrc=s=32x32:r=1:d=1", "-frames:v", "1"), tmp_path / "covered.mp4"
    streams = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic", "-movflags", "+faststart")
    run("-i", video, "-i", cover, *streams, path)
    if in_front:
        path.write_bytes(metadata_first(path.read_bytes()))
    with av.open(str(path)) as container:
        assert [stream.codec_context.name for stream in container.streams.video] == (["png", "h264"] if in_front else ["h264", "png"])
    row = transcode(path, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["codec"]) == ("ok", "h264")
    check_clip(tmp_path / "clip.mp4", row, THIRDS)


def metadata_first(data):
    """An MP4 file with the metadata of its index, which holds the cover, before its tracks."""
    start = data.index(b"moov") + 4
    end = start - 8 + int.from_bytes(data[start - 8 : start - 4])
    boxes, place = [], start
    while place < end:
        boxes.append(data[place : (place := place + int.from_bytes(data[place : place + 4]))])
    boxes.sort(key=lambda box: box[4:8] != b"udta")
    return data[:start] + b"".join(boxes) + data[end:]


def test_of_two_video_streams_the_first_one_is_taken(video, tmp_path):
    other = numbered(tmp_path / "other.mp4", size="72x96", first=100)
    run("-i", video, "-i", other, "-map", "0:v", "-map", "1:v", "-c", "copy", tmp_path / "two.mkv")
    row = transcode(tmp_path / "two.mkv", tmp_path / "clip.mp4", settings=SMALL)
    assert row["status"] == "ok"
    check_clip(tmp_path / "clip.mp4", row, THIRDS)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_picture_that_starts_after_its_sound_starts_the_clip(video, tmp_path, ending):
    late = tmp_path / f"late.{ending}"
    sound = ("-f", "lavfi", "-i", "sine=d=4.5", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
    run("-itsoffset", "1.5", "-i", video, *sound, late)
    row = transcode(late, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["has_audio"]) == ("ok", "", True)
    check_clip(tmp_path / "clip.mp4", row, THIRDS)


def test_a_webm_out_of_a_pipe_says_no_duration_and_is_whole(tmp_path):
    source = numbered(tmp_path / "a.webm", *FAST_VP9)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", source, "-c", "copy", "-live", "1", "-f", "webm", "-"]
    with (tmp_path / "pipe.webm").open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    with av.open(str(tmp_path / "pipe.webm")) as container:
        assert container.streams.video[0].duration is None
    row = transcode(tmp_path / "pipe.webm", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["duration"]) == ("ok", "", 3.0)
    check_clip(tmp_path / "clip.mp4", row, THIRDS)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_cut_off_video_is_degraded_and_says_how_much_is_left(tmp_path, ending):
    whole = numbered(tmp_path / f"whole.{ending}", *H264, "-g", "25", "-movflags", "+faststart", seconds=8)
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    row = transcode(cut, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["degraded"], row["duration"]) == ("degraded", True, 8.0)
    assert f"the clip has {row['out_frames']} frames, where 8 seconds promise 24" in row["reason"]
    assert "0x" not in row["reason"] and str(tmp_path) not in row["reason"]
    assert 6 < row["out_frames"] < 20
    check_clip(tmp_path / "clip.mp4", row, [k * 25 // 3 for k in range(row["out_frames"])])
    assert row == transcode(cut, tmp_path / "again.mp4", settings=SMALL)


def test_a_cut_off_avi_whose_header_was_corrected_by_its_reader_is_degraded_too(tmp_path):
    whole = numbered(tmp_path / "whole.avi", *H264, "-g", "25", seconds=8)
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    row = transcode(tmp_path / "cut.avi", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"].split(":")[0]) == ("degraded", "decoding reports an error")
    check_clip(tmp_path / "clip.mp4", row, [k * 25 // 3 for k in range(row["out_frames"])])


def spoil(name, video, path):
    """Write to `path` a file without a picture that can be decoded."""
    if name.startswith("sound"):
        cover = ("-i", make(path.with_name("cover.png"), "testsrc=s=32x32:r=1:d=1", "-frames:v", "1"), "-map", "0", "-map", "1")
        run("-f", "lavfi", "-i", "sine=d=1", *(cover if "cover" in name else ()), path)
        return
    data, index_last = video.read_bytes(), video.with_name("silent.mp4").read_bytes()
    content = {
        "empty.mp4": b"",
        "page.mp4": b"<html>404</html>" * 99,
        "no-index.mp4": index_last[: len(index_last) // 2],
        "list.m3u8": b"#EXTM3U\n#EXTINF:2,\nvideo.mp4\n#EXT-X-ENDLIST\n",
        "unknown-codec.mp4": data.replace(b"avc1", b"zzzz"),
    }
    path.write_bytes(content[name])


@pytest.mark.parametrize(("name", "reason"), [
    ("empty.mp4", "empty.mp4 is empty"),
    ("page.mp4", "page.mp4 is not a readable video file"),
    ("no-index.mp4", "no-index.mp4 is not a readable video file"),
    ("list.m3u8", "list.m3u8 is not a readable video file"),
    ("sound.m4a", "sound.m4a holds no video stream"),
    ("sound-and-cover.mp3", "sound-and-cover.mp3 holds no video stream"),
    ("unknown-codec.mp4", "unknown-codec.mp4 holds a video stream of a codec that cannot be decoded"),
])  # fmt: skip
def test_a_file_without_a_picture_is_a_row_with_a_reason(video, tmp_path, name, reason):
    spoil(name, video, tmp_path / name)
    row = transcode(tmp_path / name, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["out_frames"], row["src_bytes"]) == ("unreadable", None, (tmp_path / name).stat().st_size)
    assert row["reason"].startswith(reason)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("clip")]
