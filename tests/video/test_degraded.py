"""A video is `degraded` if something failed, and each failure is named after what failed."""

from fractions import Fraction

import av
import pytest

from pipeline.config.dataset import Clips
from pipeline.video import command, complaint
from pipeline.video.transcode import transcode
from tests.video.numbered import H264, make, numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
THIRDS = [0, 8, 16, 25, 33, 41, 50, 58, 66]
SOUND = ("-f", "lavfi", "-i", "sine=d=6")
WHOLE = ("ok", "", 9)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three seconds, whose frames show their numbers."""
    return numbered(tmp_path_factory.mktemp("film") / "film.mp4", *H264, "-g", "25")


def result(path, clip, **how):
    row = transcode(path, clip, settings=SMALL, **how)
    return row["status"], row["reason"], row["out_frames"]


@pytest.mark.parametrize(("ending", "codecs"), [
    ("mkv", ("-c:v", "copy", "-c:a", "aac")),
    ("flv", ("-c:v", "copy", "-c:a", "aac")),
    ("mp4", ("-c:v", "copy", "-c:a", "aac")),
    ("webm", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-c:a", "libvorbis")),
    ("wmv", ("-c:v", "wmv2", "-qscale:v", "2", "-c:a", "wmav2")),
    ("ts", ("-c:v", "copy", "-c:a", "aac")),
])  # fmt: skip
@pytest.mark.parametrize("late", ["0", "1.5"])
def test_sound_that_goes_on_longer_is_no_lack_of_pictures(film, tmp_path, ending, codecs, late):
    path = tmp_path / f"a.{ending}"
    run("-itsoffset", late, "-i", film, *SOUND, "-map", "0:v", "-map", "1:a", *codecs, "-fps_mode", "passthrough", path)
    assert result(path, tmp_path / "clip.mp4") == WHOLE
    assert numbers(tmp_path / "clip.mp4")[0] == THIRDS


def test_subtitles_that_go_on_longer_are_no_lack_of_pictures(film, tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:08,000 --> 00:00:09,000\nb\n")
    run("-i", film, "-i", tmp_path / "a.srt", "-map", "0", "-map", "1", "-c:v", "copy", tmp_path / "a.mkv")
    row = transcode(tmp_path / "a.mkv", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["duration"]) == ("ok", "", 3.0)


@pytest.mark.parametrize("ending", ["mkv", "wmv", "flv", "ts", "mp4"])
def test_a_clock_that_starts_late_is_no_lack_of_pictures(film, tmp_path, ending):
    codec = {"wmv": ("-c:v", "wmv2", "-qscale:v", "2")}.get(ending, ("-c", "copy"))
    run("-i", film, *codec, "-fps_mode", "passthrough", "-output_ts_offset", "100", tmp_path / f"a.{ending}")
    assert result(tmp_path / f"a.{ending}", tmp_path / "clip.mp4") == WHOLE
    assert numbers(tmp_path / "clip.mp4")[0] == THIRDS


@pytest.mark.parametrize("ending", ["ts", "mpg"])
@pytest.mark.parametrize(("first", "second"), [("0", "0"), ("0", "4000"), ("4000", "0")])
def test_clocks_that_were_joined_are_one(film, tmp_path, ending, first, second):
    codec = {"mpg": ("-c:v", "mpeg2video", "-bf", "2", "-qscale", "2")}.get(ending, ("-c", "copy"))
    for name, offset in (("1", first), ("2", second)):
        run("-i", film, *codec, "-output_ts_offset", offset, tmp_path / f"{name}.{ending}")
    both = tmp_path / f"both.{ending}"
    both.write_bytes(b"".join((tmp_path / f"{name}.{ending}").read_bytes() for name in "12"))
    row = transcode(both, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["out_frames"]) == ("ok", "", 18)
    assert row["duration"] == pytest.approx(6.0, abs=0.1)
    assert numbers(tmp_path / "clip.mp4")[0][:9] == THIRDS


@pytest.mark.parametrize(("ending", "tagged"), [("mkv", True), ("mkv", False), ("flv", True)])
def test_a_file_that_was_cut_off_is_degraded_though_it_has_sound(tmp_path, ending, tagged):
    whole = tmp_path / f"whole.{ending}"
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-c:a", "aac")
    run("-f", "lavfi", "-i", "testsrc2=s=96x72:r=25:d=8", "-f", "lavfi", "-i", "sine=d=10", *codecs, whole)
    data = whole.read_bytes()
    data = data if tagged else data.replace(b"DURATION", b"DURATIO_")
    (tmp_path / f"cut.{ending}").write_bytes(data[: len(data) // 2])
    status, reason, frames = result(tmp_path / f"cut.{ending}", tmp_path / "clip.mp4")
    assert (status, "seconds promise" in reason) == ("degraded", True)
    assert 6 < frames < 20


def packed(path):
    """An AVI like those of DivX: a packet holds a picture and the one that is shown before it, and the next one an empty picture."""
    make(path.with_suffix(".m4v"), "testsrc2=s=96x72:r=25:d=3", "-c:v", "mpeg4", "-bf", "1", "-qscale", "2", "-f", "m4v")
    data = path.with_suffix(".m4v").read_bytes()
    encoder = data.index(b"\0\0\1\xb2Lavc") + 4
    data = data[:encoder] + b"DivX503b1393p" + data[data.index(b"\0\0\1", encoder) :]
    pieces = [b"\0\0\1" + piece for piece in data.split(b"\0\0\1")[1:]]
    held, pictures = b"", []
    for piece in pieces:
        held += piece
        if piece[3] == 0xB6:
            later = piece[4] >> 6 == 2
            pictures += [b"\x7f"] if later else [held]
            if later:
                pictures[-2] += held
            held = b""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 96, 72
        stream.codec_context.codec_tag = "DX50"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, number % 12 == 0
            container.mux(packet)
    return path


def test_packed_pictures_are_whole(tmp_path):
    assert result(packed(tmp_path / "a.avi"), tmp_path / "clip.mp4") == WHOLE


def test_an_encrypted_file_says_so(film, tmp_path):
    key = "00112233445566778899aabbccddeeff"
    run("-i", film, "-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key, tmp_path / "a.mp4")
    status, reason, _ = result(tmp_path / "a.mp4", tmp_path / "clip.mp4")
    assert (status, reason) == ("unreadable", "a.mp4 is encrypted, and cannot be decoded without its key")


def test_a_title_in_an_old_encoding_is_no_fault(film, tmp_path):
    run("-i", film, "-c", "copy", "-metadata", "title=Xxrme", tmp_path / "a.avi")
    (tmp_path / "a.avi").write_bytes((tmp_path / "a.avi").read_bytes().replace(b"Xxrme", b"W\xe4rme"))
    assert result(tmp_path / "a.avi", tmp_path / "clip.mp4") == WHOLE


@pytest.mark.parametrize("size", ["2x2", "1x1", "1024x64", "16384x256"])
def test_an_odd_shape_becomes_a_clip_if_the_encoder_can_hold_it(tmp_path, size):
    source = make(tmp_path / "a.mkv", f"color=red:s={size}:r=3:d=1,format=yuv444p", "-c:v", "ffv1")
    row = transcode(source, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], min(row["out_width"], row["out_height"])) == ("ok", "", 64)


@pytest.mark.parametrize(("size", "then", "shape"), [
    ("1000x1", "null", "1000x1 pixels"),
    ("16384x32", "null", "16384x32 pixels"),
    ("4x1200", "null", "4x1200 pixels"),
    ("320x120", "setsar=100", "320x120 pixels of the shape 100:1"),
])  # fmt: skip
def test_a_shape_that_the_encoder_cannot_hold_is_refused_by_it(tmp_path, size, then, shape):
    source = make(tmp_path / "a.mkv", f"color=red:s={size}:r=3:d=1,format=yuv444p,{then}", "-c:v", "png")
    status, reason, _ = result(source, tmp_path / "clip.mp4")
    assert (status, reason.startswith(f"a.mkv has a picture of {shape}")) == ("unreadable", True), reason
    assert "at most 16384" in reason


def test_an_error_of_our_filters_is_not_the_video_s(film, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_in_size", lambda picture, _: picture.filter("scale", "no_such_size", -1))
    status, reason, _ = result(film, tmp_path / "clip.mp4")
    assert status == "unreadable"
    assert reason.startswith("the pictures of film.mp4 (96x72 pixels, yuv420p) could not be made into a clip")


def test_an_error_of_our_encoder_is_not_the_video_s(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.video.shape.LONGEST", 10**9)
    wide = make(tmp_path / "wide.mkv", "color=red:s=4000x4:r=3:d=1", "-c:v", "png")
    status, reason, _ = result(wide, tmp_path / "clip.mp4")
    assert (status, "decoded" in reason, "could not be made into a clip" in reason) == ("unreadable", False, True)


@pytest.mark.parametrize(("said", "words"), [
    ("[h264 @ 0x5f] no frame!\n[vf#0:0 @ 0x5f] Error", "h264: no frame!"),
    ("[vist#0:0/h264 @ 0x1] [dec:h264 @ 0x2] Decoding error: Invalid data.", "h264: Decoding error: Invalid data"),
    ("[in#0/mpegts @ 0x1] corrupt input packet in stream 0", "mpegts: corrupt input packet in stream 0"),
    ("[in#0 @ 0x1] tag is too long", "tag is too long"),
    ("[Parsed_scale_3 @ 0x1] bad\n[h264 @ 0x5f] no frame!", ""),
    ("[vost#0:0/libx264 @ 0x1] [enc:libx264 @ 0x2] Error while opening encoder", ""),
    ("[fc#0 @ 0x1] Error reinitializing filters!", ""),
    ("Error while filtering: Invalid argument", ""),
    ("", ""),
])  # fmt: skip
def test_what_ffmpeg_says_is_repeated_if_it_is_about_the_file(tmp_path, said, words):
    assert complaint.of_the_file(said, tmp_path / "a.mp4") == words
