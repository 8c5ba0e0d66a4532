"""Copies of one film that differ as files: found by what their clips show, and nothing else taken for one."""

import base64
import time

import numpy as np
import pytest

from pipeline.config.dataset import Clips
from pipeline.reporting.card import page
from pipeline.reporting.card import text as card_text
from pipeline.video.signature import HEAD, PARTS, TILES, signature, signatures
from pipeline.video.transcode import transcode
from tests.reporting import test_card
from tests.video.numbered import make

SMALL = Clips(short_side=48)
BARS = "smptebars=s=128x96:r=25:d=2[b];color={colour}:s=40x40:r=25:d=2[c];[b][c]overlay=x={x}:y={y}"
FILMS = {  # name -> source, options of the encoder
    "film.mp4": ("testsrc2=s=320x240:r=25:d=3", []),
    "small.mkv": ("testsrc2=s=320x240:r=25:d=3", ["-vf", "scale=128:96", "-crf", "34"]),
    "other-rate.avi": ("testsrc2=s=320x240:r=25:d=3", ["-vf", "scale=160:90", "-r", "15", "-c:v", "mpeg4"]),
    "a-frame-longer.mp4": ("testsrc2=s=320x240:r=25:d=3.3", ["-vf", "scale=160:120"]),
    "else.mp4": ("testsrc=s=320x240:r=25:d=3", []),
    "colours.mp4": ("testsrc2=s=320x240:r=25:d=3,hue=h=120", []),
    "left.mp4": (BARS.format(colour="white", x="80-40*t", y=10), []),
    "right.mp4": (BARS.format(colour="white", x="40*t", y=10), []),
    "down.mp4": (BARS.format(colour="white", x=40, y="25*t"), []),
    "still.mp4": ("smptebars=s=96x72:d=2", []),
    "still.mkv": ("smptebars=s=128x96:d=2", []),
    "black.mp4": ("color=black:s=96x72:d=2", []),
    "black.avi": ("color=0x010101:s=64x48:d=2", ["-c:v", "mpeg4"]),
    "grey.mp4": ("color=gray:s=96x72:d=2,fade=in:d=2", []),
    "grey.mkv": ("color=gray:s=64x48:d=2,fade=in:d=2", []),
    "dark-noise.mp4": ("color=black:s=96x72:d=2,noise=alls=8:allf=t", []),
    "dark-noise.mkv": ("color=black:s=64x48:d=2,noise=alls=8:allf=t:all_seed=5", []),
}


COPIES = ("a-frame-longer.mp4", "film.mp4", "other-rate.avi", "small.mkv")


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """The signature of each film, as transcoding reports it."""
    root = tmp_path_factory.mktemp("films")
    rows = {name: transcode(make(root / name, source, *more), root / "clip.mp4", settings=SMALL) for name, (source, more) in FILMS.items()}
    assert {row["status"] for row in rows.values()} == {"ok"}
    return {name: row["signature"] for name, row in rows.items()}


def near(videos):
    return test_card.facts(videos, {v["video_id"]: ["x"] for v in videos})["near_copies"]


def test_one_film_in_other_containers_sizes_and_rates_is_one_group_and_nothing_else_is_one(looks):
    videos = [test_card.video(name, split="test" if name == "film.mp4" else "train", signature=look) for name, look in looks.items()]
    found = near(videos)
    assert found["first"] == [[[name, "test" if name == "film.mp4" else "train"] for name in COPIES[:3]]]
    # what stands still, is of one colour, dark or only fades is compared with nothing
    assert (found["across"], found["within"], found["still"], found["of"]) == (1, 0, 8, 17)


def test_the_card_names_the_copies_with_their_splits_and_how_many_were_not_compared(looks):
    names = {"film.mp4": "test", "small.mkv": "train", "else.mp4": "val", "still.mp4": "val"}
    videos = [test_card.video(name, split=split, signature=looks[name]) for name, split in names.items()]
    facts = test_card.facts(videos, {name: ["x"] for name in names})
    said = dict(card_text.notes(facts))["Copies of one film"]
    assert said == (
        "Groups of clips that look alike though their files differ, as after another encoding or size: 1 over several splits, 0 within one"
        ": film.mp4 (test) = small.mkv (train). 1 of 4 hardly move and were compared with none."
    )
    assert "**Copies of one film.** Groups of clips" in page.to_markdown(facts)


def test_files_equal_byte_for_byte_and_parts_of_one_file_are_no_copies(looks):
    same = {"signature": looks["film.mp4"], "src_sha256": "1"}
    assert near([test_card.video("a", **same), test_card.video("b", split="test", **same)])["across"] == 0
    parts = [test_card.video(v, src_path="film.mkv", signature=looks["film.mp4"], split=s) for v, s in (("a", "val"), ("b", "test"))]
    assert near(parts)["across"] == 0
    third = test_card.video("c", signature=looks["small.mkv"])
    assert near([test_card.video("a", **same), test_card.video("b", **same), third])["first"] == [[[v, "train"] for v in "abc"]]


def test_where_no_clip_was_looked_at_nothing_is_said_to_be_unique():
    assert near([test_card.video("a")]) is None
    assert near([test_card.video("a", signature="")]) is None
    said = dict(card_text.notes(test_card.facts([test_card.video("a", signature=None)], {"a": ["x"]})))["Copies of one film"]
    assert said == "Not measured."


def film(rng, number, *, dark=0.0):
    """Signatures (number, PARTS, TILES) of as many films, smooth in space and time as films are, in levels."""
    coarse = rng.normal(0, 30, (number, 1, 4, 4)) + rng.normal(0, 12, (number, PARTS, 4, 4))
    bright = np.kron(coarse, np.ones((1, 1, 2, 2))).reshape(number, PARTS, -1) + rng.normal(110, 30, (number, 1, 1))
    colour = 128 + rng.normal(0, 10, (number, 1, TILES - bright.shape[2])) + rng.normal(0, 3, (number, PARTS, 1))
    return np.concatenate([bright * (1 - dark), colour], axis=2)


def texts(levels):
    head = (24 * 3).to_bytes(HEAD, "little")
    return [base64.b64encode(head + one.tobytes()).decode() for one in np.clip(np.rint(levels), 0, 255).astype(np.uint8)]


@pytest.mark.parametrize(("number", "copied"), [(2, 1), (3, 1), (40, 5), (3000, 40)])
def test_every_copy_is_found_among_few_and_among_many(number, copied):
    rng = np.random.default_rng(number)
    films = film(rng, number - copied)
    again = films[:copied] + rng.normal(0, 0.7, films[:copied].shape)
    videos = [test_card.video(f"{n:04}", signature=look) for n, look in enumerate(texts(films))]
    videos += [test_card.video(f"{n:04} again", split="test", signature=look) for n, look in enumerate(texts(again))]
    start = time.process_time()
    found = near(videos)
    assert (found["across"], found["within"]) == (copied, 0)
    assert found["first"][0] == [["0000", "train"], ["0000 again", "test"]]
    assert time.process_time() - start < 20  # all pairs of 3,000 in full would be 3.5 GB of numbers


def test_a_signature_is_the_mean_of_each_part_of_the_time():
    ramp = np.arange(100)[:, None] * np.ones((1, TILES))
    for number, size, means in ((1, 1, [0]), (8, 1, range(8)), (9, 2, [0, 2, 4, 6]), (17, 4, [2, 6, 10, 14]), (64, 8, range(4, 64, 8))):
        found = signatures([signature(list(ramp[:number]))])
        assert (found.frames[0], found.size[0], found.parts[0]) == (number, size, len(means))
        assert found.tiles[0, : len(means), 0].tolist() == list(means) and not found.tiles[0, len(means) :].any()


@pytest.mark.parametrize("number", [2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200])
def test_a_copy_may_be_a_frame_longer_whatever_the_number_of_frames(number):
    rng = np.random.default_rng(number)
    frames = np.clip(np.cumsum(rng.normal(0, 12, (number + 1, TILES)), axis=0) + 128, 0, 255)
    videos = [test_card.video("a", signature=signature(list(frames))), test_card.video("b", signature=signature(list(frames[:-1])))]
    assert near(videos)["first"] == [[["a", "train"], ["b", "train"]]]
    turned = test_card.video("b", signature=signature(list(frames[::-1])))
    assert near([videos[0], turned])["first"] == []
