"""Pictures that move are videos like others, whatever their name; those that do not are refused, and the reason says so."""

import struct

import pytest

from pipeline.config.dataset import Clips
from pipeline.video.formats import CONTAINERS, picture
from pipeline.video.transcode import transcode
from tests.video.numbered import numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
THIRDS = [0, 8, 16, 25, 33, 41, 50, 58, 66]
MOVING = {
    "a.gif": ("gif", ("-c:v", "gif", "-pix_fmt", "gray")),
    "a.apng": ("apng", ("-c:v", "apng")),
    "apng.png": ("apng", ("-c:v", "apng", "-f", "apng")),
    "a.webp": ("webp", ("-c:v", "libwebp_anim", "-lossless", "1")),
    "forever.webp": ("webp", ("-c:v", "libwebp_anim", "-lossless", "1", "-loop", "0")),
    "webp.mp4": ("webp", ("-c:v", "libwebp_anim", "-lossless", "1", "-f", "webp")),
}
STILL = {
    "a.jpg": ("JPEG", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
    "jpeg.mp4": ("JPEG", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-f", "image2")),
    "a.png": ("PNG", ("-c:v", "png")),
    "one.apng": ("PNG", ("-c:v", "apng")),
    "a.gif": ("GIF", ("-c:v", "gif")),
    "a.webp": ("WebP", ("-c:v", "libwebp")),
    "one.webp": ("WebP", ("-c:v", "libwebp_anim")),
    "a.avif": ("AVIF", ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p")),
    "a.bmp": ("BMP", ("-c:v", "bmp")),
    "a.tiff": ("TIFF", ("-c:v", "tiff")),
}


@pytest.mark.parametrize("name", MOVING)
def test_a_picture_that_moves_shows_the_right_frames_at_the_right_times(tmp_path, name):
    codec, arguments = MOVING[name]
    source = numbered(tmp_path / name, *arguments)
    row = transcode(source, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"], row["codec"], row["n_frames"]) == ("ok", "", codec, 75)
    assert numbers(tmp_path / "clip.mp4")[0] == THIRDS
    again = transcode(source, tmp_path / "again.mp4", settings=SMALL)
    assert again == row, "equal input gives equal bytes"


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp"])
def test_pictures_that_stay_for_different_times_are_shown_so(tmp_path, name):
    # Each second picture stays four times as long.
    uneven = numbered(tmp_path / name, *MOVING[name][1], rate="10", seconds=1, then=",setpts='floor(N/2)*5+mod(N,2)'")
    row = transcode(uneven, tmp_path / "clip.mp4", settings=SMALL)
    # Pictures 2k are there at k/2 s, 2k + 1 at k/2 + 0.1 s.
    assert (row["status"], numbers(tmp_path / "clip.mp4")[0][:6]) == ("ok", [0, 1, 3, 4, 5, 7])


def test_a_part_of_an_animated_webp(tmp_path):
    source = numbered(tmp_path / "a.webp", *MOVING["a.webp"][1])
    row = transcode(source, tmp_path / "clip.mp4", settings=SMALL, start=1.0, end=2.0)
    assert (row["status"], row["out_start"], numbers(tmp_path / "clip.mp4")[0]) == ("ok", 1.0, [25, 33, 41])


def test_an_animated_webp_that_is_cut_off_is_degraded(tmp_path):
    data = numbered(tmp_path / "a.webp", *MOVING["a.webp"][1]).read_bytes()
    (tmp_path / "cut.webp").write_bytes(data[: len(data) // 2])
    row = transcode(tmp_path / "cut.webp", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"].split(":")[0]) == ("degraded", "decoding reports an error")
    found = numbers(tmp_path / "clip.mp4")[0]
    assert 1 < len(found) < 9 and found == THIRDS[: len(found)]
    (tmp_path / "head.webp").write_bytes(data[:60])
    row = transcode(tmp_path / "head.webp", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"].split(":")[0]) == ("unreadable", "head.webp cannot be decoded")


@pytest.mark.parametrize("name", STILL)
def test_a_picture_that_does_not_move_is_refused_by_that_name(tmp_path, name):
    kind, arguments = STILL[name]
    frames = () if name == "one.webp" else ("-frames:v", "1")
    run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.1", *frames, *arguments, tmp_path / name)
    assert picture(tmp_path / name) == kind
    row = transcode(tmp_path / name, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"]) == ("unreadable", f"{name} is a still picture ({kind}), and no video")
    assert not (tmp_path / "clip.mp4").exists()


def box(kind, *content, version=None):
    body = (b"" if version is None else struct.pack(">I", version << 24)) + b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def tiled(path, one):
    """The picture of an AVIF file twice, side by side, as tiles of a larger one."""
    data = one.read_bytes()

    def found(kind):
        place = data.index(kind) - 4
        return data[place : place + int.from_bytes(data[place : place + 4])]

    pixels, size, coded = found(b"av1C"), found(b"ispe"), found(b"mdat")
    width, height = struct.unpack(">II", size[12:])
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 2 * width, height)
    kinds = [box(b"infe", struct.pack(">HH", n, 0), kind, b"\0", version=2) for n, kind in ((1, b"grid"), (2, b"av01"), (3, b"av01"))]
    begin = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")

    def meta(place):
        places = [(1, 1, 0, 1, 0, len(grid)), *((n, 0, 0, 1, place, len(coded) - 8) for n in (2, 3))]
        properties = [(1, 1, 3), (2, 2, 0x81, 2), (3, 2, 0x81, 2)]
        return box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            box(b"pitm", struct.pack(">H", 1), version=0),
            box(b"iinf", struct.pack(">H", 3), *kinds, version=0),
            box(b"iref", box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3)), version=0),
            box(b"iloc", struct.pack(">BBH", 0x44, 0, 3), *(struct.pack(">HHHHII", *item) for item in places), version=1),
            box(
                b"iprp",
                box(b"ipco", pixels, size, box(b"ispe", struct.pack(">II", 2 * width, height), version=0)),
                box(b"ipma", struct.pack(">I", 3), *(struct.pack(f">H{len(p) - 1}B", *p) for p in properties), version=0),
            ),
            box(b"idat", grid),
            version=0,
        )

    path.write_bytes(begin + meta(len(begin) + len(meta(0)) + 8) + coded)


def test_a_photo_that_is_stored_in_tiles_is_a_still_picture(tmp_path):
    run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.1", "-frames:v", "1", *STILL["a.avif"][1], tmp_path / "one.avif")
    tiled(tmp_path / "a.avif", tmp_path / "one.avif")
    row = transcode(tmp_path / "a.avif", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["reason"]) == ("unreadable", "a.avif is a still picture (AVIF), and no video")


def test_a_video_of_one_picture_stays_a_video(tmp_path):
    row = transcode(numbered(tmp_path / "a.mp4", seconds=0.04), tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["out_frames"]) == ("ok", 1)


def test_a_container_that_is_not_taken_is_said_to_be_none(tmp_path):
    source = numbered(tmp_path / "a.swf", "-c:v", "flv", "-f", "swf")
    row = transcode(source, tmp_path / "clip.mp4", settings=SMALL)
    why = "a.swf is not a readable video file: its container is not one that is taken, or it is damaged"
    assert (row["status"], row["reason"]) == ("unreadable", why)
    assert "swf" not in CONTAINERS


@pytest.mark.parametrize("text", ["BMW drives by\n" * 9, "BM", "BM" + "\0" * 40])
def test_a_text_that_begins_like_a_bitmap_is_none(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    assert picture(tmp_path / "a.mp4") == ""
    row = transcode(tmp_path / "a.mp4", tmp_path / "clip.mp4", settings=SMALL)
    assert row["status"] == "unreadable" and "picture" not in row["reason"]


@pytest.mark.parametrize("header", [12, 40, 108, 124])
def test_bitmaps_of_all_ages_are_pictures(tmp_path, header):
    (tmp_path / "a.bmp").write_bytes(struct.pack("<2sIII I", b"BM", 70, 0, 54, header) + bytes(99))
    assert picture(tmp_path / "a.bmp") == "BMP"
