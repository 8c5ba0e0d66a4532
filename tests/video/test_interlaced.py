"""Interlaced pictures come out with one moment each, and pictures of one moment come out as they are."""

import av
import numpy as np
import pytest

from pipeline.config.dataset import Clips
from pipeline.video import interlaced
from pipeline.video.command import Cut, command
from pipeline.video.interlaced import WHOLE, verdict
from pipeline.video.probe import probe
from pipeline.video.transcode import transcode
from tests.video.numbered import make

SETTINGS = Clips(short_side=96, fps=5)
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-qp", "12", "-pix_fmt", "yuv420p")
MARKED = (*X264, "-flags", "+ildct+ilme")
# A white bar that moves by a quarter of its width a field.
BAR = (
    "color=black:s=128x96:r={rate}:d=1[ground];color=white:s=24x96:r={rate}:d=1[bar];"
    "[ground][bar]overlay=x='t*300-96*floor(t*300/128)',format=yuv420p"
)
TOP, BOTTOM = ("tinterlace=interleave_top", "tinterlace=interleave_bottom")


def film(path, *arguments, rate=50, then="null"):
    return make(path, f"{BAR.format(rate=rate)},{then}", *arguments)


def combs(path):
    """How much lines differ from both their neighbours, of 255, on average."""
    with av.open(str(path)) as container:
        grey = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    return np.mean([np.abs(p[:-2] + p[2:] - 2 * p[1:-1]).mean() for p in grey])


@pytest.mark.parametrize(("name", "then", "arguments", "order"), [
    ("marked.mp4", TOP, MARKED, "tff"),
    ("marked.mkv", BOTTOM, MARKED, "bff"),
    ("marked.mpg", TOP, ("-c:v", "mpeg2video", "-qscale", "2", "-flags", "+ildct+ilme"), "tff"),
    ("tape.dv", f"{BOTTOM},scale=720:576:interl=1,setsar=16/15,format=yuv420p", ("-c:v", "dvvideo", "-flags", "+ildct+ilme"), "bff"),
    ("unmarked.mp4", TOP + ",setfield=prog", X264, "tff"),
    ("unmarked.avi", BOTTOM + ",setfield=prog", ("-c:v", "mpeg4", "-qscale", "2"), "bff"),
    ("wrong.mp4", BOTTOM + ",setfield=tff", MARKED, "bff"),
])  # fmt: skip
def test_interlaced_pictures_come_out_with_one_moment_each(tmp_path, name, then, arguments, order):
    source = film(tmp_path / name, *arguments, then=then)
    row = transcode(source, tmp_path / "clip.mp4", settings=SETTINGS)
    assert (row["status"], row["reason"], row["field_order"], row["out_frames"]) == ("ok", "", order, 5)
    assert combs(source) > 4
    assert combs(tmp_path / "clip.mp4") < 1


@pytest.mark.parametrize(("tags", "reason"), [
    ("matrix_coefficients=8", ""),  # YCgCo
    ("matrix_coefficients=14:colour_primaries=9:transfer_characteristics=16", ""),  # ICtCp
    ("matrix_coefficients=10:colour_primaries=9:transfer_characteristics=14", ""),  # constant luminance
    ("matrix_coefficients=9:colour_primaries=9:transfer_characteristics=18", ""),  # HLG
    ("matrix_coefficients=11", "the colours are taken as untagged in part: their matrix smpte2085 cannot be converted"),
])  # fmt: skip
def test_interlaced_pictures_of_unusual_colours(tmp_path, tags, reason):
    source = film(tmp_path / "a.mp4", *MARKED, "-bsf:v", f"h264_metadata={tags}", then=TOP)
    row = transcode(source, tmp_path / "clip.mp4", settings=SETTINGS)
    assert (row["field_order"], row["reason"], row["out_frames"]) == ("tff", reason, 5)
    # The same pictures, stored with one moment each.
    whole = film(tmp_path / "b.mkv", *X264, "-bsf:v", f"h264_metadata={tags}", rate=25)
    transcode(whole, tmp_path / "whole.mp4", settings=SETTINGS)
    for ours, right in zip(pictures(tmp_path / "clip.mp4"), pictures(tmp_path / "whole.mp4"), strict=True):
        assert np.abs(ours - right).mean() < 2


def test_the_moment_is_the_one_that_the_picture_starts_with(tmp_path):
    source = film(tmp_path / "a.mkv", *MARKED, then=TOP)
    still = film(tmp_path / "b.mkv", *X264, rate=25)
    for path, name in ((source, "a.mp4"), (still, "b.mp4")):
        transcode(path, tmp_path / name, settings=SETTINGS)
    for ours, right in zip(pictures(tmp_path / "a.mp4"), pictures(tmp_path / "b.mp4"), strict=True):
        assert np.abs(ours - right).mean() < 2


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("name", "then", "arguments", "order"), [
    ("plain.mp4", "null", X264, "progressive"),
    ("plain.webm", "null", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"), "progressive"),
    ("broadcast.mp4", "setfield=tff", MARKED, "psf"),
    ("broadcast.mpg", "setfield=bff", ("-c:v", "mpeg2video", "-qscale", "2", "-flags", "+ildct+ilme"), "psf"),
    ("up.mp4", "transpose", X264, "progressive"),
    ("noise.mp4", "noise=alls=30:allf=t", X264, "progressive"),
    ("stripes.mkv", "geq=lum='255*mod(Y,2)':cb=128:cr=128", ("-c:v", "ffv1"), "progressive"),
])  # fmt: skip
def test_pictures_of_one_moment_are_left_alone_to_the_bit(tmp_path, monkeypatch, name, then, arguments, order):
    source = film(tmp_path / name, *arguments, rate=25, then=then)
    row = transcode(source, tmp_path / "clip.mp4", settings=SETTINGS)
    assert (row["status"], row["field_order"]) == ("ok", order)
    monkeypatch.setattr("pipeline.video.command.one_moment", lambda picture, _: picture)
    transcode(source, tmp_path / "without.mp4", settings=SETTINGS)
    assert (tmp_path / "clip.mp4").read_bytes() == (tmp_path / "without.mp4").read_bytes()


def test_film_that_was_stretched_for_television_has_no_combs(tmp_path):
    source = film(tmp_path / "a.mp4", *X264, rate=24, then="telecine,setfield=prog")
    row = transcode(source, tmp_path / "clip.mp4", settings=Clips(short_side=96, fps=30))
    assert (row["status"], row["field_order"]) == ("ok", "tff")
    assert combs(source) > 2
    assert combs(tmp_path / "clip.mp4") < 1


def test_a_broadcast_of_film_with_other_parts_is_interlaced(tmp_path):
    film_part = BAR.format(rate=25).replace(":d=1", ":d=3").replace("[bar]", "[w]").replace("[ground]", "[g]")
    both = f"{film_part},setfield=tff[film];{BAR.format(rate=50)},{TOP}[tape];[film][tape]concat,setfield=tff"
    source = make(tmp_path / "a.mpg", both, "-c:v", "mpeg2video", "-qscale", "2", "-flags", "+ildct+ilme")
    assert transcode(source, tmp_path / "clip.mp4", settings=SETTINGS)["field_order"] == "tff"


def test_interlaced_pictures_may_change_their_size(tmp_path):
    marked = ("-c:v", "mpeg2video", "-qscale", "2", "-flags", "+ildct+ilme")
    parts = [
        film(tmp_path / f"{i}.ts", *marked, "-output_ts_offset", str(i), then=f"scale={s},{TOP}")
        for i, s in enumerate(("128:96", "192:144"))
    ]
    for order in (parts, parts[::-1]):
        (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in order))
        row = transcode(tmp_path / "both.ts", tmp_path / "clip.mp4", settings=SETTINGS)
        assert (row["status"], row["field_order"], row["out_frames"]) == ("ok", "tff", 10)
        assert row["width"] == (128 if order is parts else 192)


def test_a_picture_that_stands_still_goes_by_its_word(tmp_path):
    for word, flags, order in (("tff", MARKED, "tff"), ("prog", X264, "progressive")):
        source = make(tmp_path / "a.mp4", f"color=gray:s=128x96:r=25:d=1,setfield={word}", *flags)
        assert transcode(source, tmp_path / "clip.mp4", settings=SETTINGS)["field_order"] == order


def test_few_pictures_are_decoded_to_find_out(tmp_path, monkeypatch):
    seen = []
    luma = interlaced._luma
    monkeypatch.setattr(interlaced, "_luma", lambda frame: seen.append(frame.time) or luma(frame))
    assert probe(make(tmp_path / "a.mp4", "testsrc2=s=128x96:r=25:d=8", *X264, "-g", "25")).fields == WHOLE
    assert len(seen) <= 32
    assert max(seen) > 4  # not all of them from the beginning


@pytest.mark.parametrize(("votes", "said", "order"), [
    ("", "", "progressive"),
    ("", "bff", "bff"),
    ("t", "", "progressive"),
    ("tt", "", "progressive"),
    ("ttp", "", "progressive"),
    ("tptpt", "", "tff"),
    ("bbbbbt", "", "progressive"),
    ("tpppb", "", "progressive"),
    ("bbtpp", "", "progressive"),
    ("pppp", "tff", "psf"),
    ("pppppptt", "tff", "tff"),
    ("bbbb", "tff", "bff"),
])  # fmt: skip
def test_the_verdict_on_some_pairs_of_pictures(votes, said, order):
    names = {"t": "tff", "b": "bff", "p": "progressive"}
    assert verdict([names[vote] for vote in votes], said=said) == order


def test_the_command_for_a_plain_video_has_no_further_filter(tmp_path):
    arguments = command(tmp_path / "a", tmp_path / "b", index=0, cut=Cut(), settings=SETTINGS, strict=True, fields=WHOLE)
    assert "bwdif" not in " ".join(arguments)
