"""Of several video streams, the one that a player shows, and what the row says of it."""

import pytest

from pipeline.config.dataset import Clips
from pipeline.video.transcode import transcode
from tests.video.numbered import H264, make, numbered, numbers, run

SMALL = Clips(short_side=64, fps=3)
THIRDS = [0, 8, 16, 25, 33, 41]
MJPEG = ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of 96x72."""
    return numbered(tmp_path_factory.mktemp("film") / "film.mp4", seconds=2)


@pytest.fixture(scope="module")
def small(film):
    """The same two seconds, smaller, with other numbers."""
    return numbered(film.with_name("small.mp4"), seconds=2, size="64x48", first=100)


def joined(path, *sources, dispositions):
    """The video streams of `sources` in one file, each with its disposition."""
    inputs = [part for source in sources for part in ("-i", source)]
    maps = [part for place in range(len(sources)) for part in ("-map", f"{place}:v")]
    kept = [part for place, value in enumerate(dispositions) for part in (f"-disposition:v:{place}", value)]
    run(*inputs, *maps, "-c", "copy", *kept, path)
    return path


def assert_film(path, row, *, track):
    assert (row["status"], row["reason"], row["track"], row["width"]) == ("ok", "", track, 96)
    assert numbers(path)[0] == THIRDS


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_default_stream_is_shown_wherever_it_stands(film, small, tmp_path, ending):
    path = joined(tmp_path / f"a.{ending}", small, film, dispositions=["0", "default"])
    assert_film(tmp_path / "clip.mp4", transcode(path, tmp_path / "clip.mp4", settings=SMALL), track="2 of 2")
    path = joined(tmp_path / f"b.{ending}", small, film, dispositions=["default", "0"])
    row = transcode(path, tmp_path / "clip.mp4", settings=SMALL)
    assert (row["width"], row["track"]) == (64, "1 of 2")


@pytest.mark.parametrize(("ending", "flags"), [("mkv", "default"), ("mp4", "default"), ("mkv", "0"), ("avi", "0"), ("ts", "0")])
def test_of_streams_with_the_same_flag_the_larger_one_is_shown(film, small, tmp_path, ending, flags):
    path = joined(tmp_path / f"a.{ending}", small, film, dispositions=[flags, flags])
    assert_film(tmp_path / "clip.mp4", transcode(path, tmp_path / "clip.mp4", settings=SMALL), track="2 of 2")


@pytest.mark.parametrize("ending", ["mkv", "mov"])
def test_a_still_or_a_row_of_previews_is_not_the_film_though_it_is_larger_and_default(film, tmp_path, ending):
    for pictures in (1, 4):
        still = make(tmp_path / "still.mkv", f"testsrc=s=160x120:r=2:d={pictures / 2}", *MJPEG)
        path = joined(tmp_path / f"a.{ending}", still, film, dispositions=["default", "0"])
        assert_film(tmp_path / "clip.mp4", transcode(path, tmp_path / "clip.mp4", settings=SMALL), track="2 of 2")


def test_of_two_stills_one_is_taken(tmp_path):
    stills = [make(tmp_path / f"{size}.mkv", f"testsrc=s={size}:r=1:d=1", *MJPEG) for size in ("64x48", "96x72")]
    row = transcode(joined(tmp_path / "a.mkv", *stills, dispositions=["0", "0"]), tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["width"], row["n_frames"]) == ("ok", 96, 1)


@pytest.mark.parametrize("alpha", [False, True])
def test_an_animation_in_avif_is_not_its_still_picture(tmp_path, alpha):
    split = "[0]split[a][b];[b]format=gray,geq=lum=255[c]" if alpha else "[0]null[a]"
    maps = ("-map", "[a]", "-map", "[c]") if alpha else ("-map", "[a]")
    av1 = ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-crf", "15")
    numbered_film = numbered(tmp_path / "film.mp4", *H264, rate="6", seconds=2)
    run("-i", numbered_film, "-filter_complex", split, *maps, *av1, tmp_path / "a.avif")
    row = transcode(tmp_path / "a.avif", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], row["n_frames"], row["track"]) == ("ok", 12, "3 of 4" if alpha else "2 of 2")
    assert numbers(tmp_path / "clip.mp4")[0] == [0, 2, 4, 6, 8, 10]


def test_one_stream_is_not_counted(film, tmp_path):
    assert transcode(film, tmp_path / "clip.mp4", settings=SMALL)["track"] == ""
