"""The motion world: splits share no scene, captions tell the truth, files are what they claim to be."""

import collections
import dataclasses

import av
import numpy as np
import pytest

from pipeline.clip import build
from pipeline.config.dataset import Clips, Motion
from pipeline.datasets import motion
from pipeline.motion import captions, files, render, scene
from pipeline.training.pretrain import GROUNDS as STILL_GROUNDS
from pipeline.training.pretrain import _piece
from pipeline.video.sample import read_frames
from pipeline.video.transcode import transcode

REVERSED = {"left": "right", "up": "down", "grow": "shrink", "fade in": "fade out"}
REVERSED |= {after: before for before, after in REVERSED.items()} | {"recolour": "recolour"}


@pytest.fixture(scope="module")
def plan():
    return motion.plan(Motion(train=400, val=60, test=200))


def seen(chosen):
    """The view of a scene at five moments, places in eighths of the square: computed from the states, not from its key."""
    moments = [scene.state(thing, u) for thing in chosen.things for u in (0.0, 0.25, 0.5, 0.75, 1.0)]
    things = [
        (s.shape, round(8 * s.x), round(8 * s.y), round(s.radius, 3), round(s.angle, 3), round(s.alpha, 3), tuple(map(round, s.colour)))
        for s in moments
    ]
    return chosen.ground, frozenset(things[i : i + 5].__repr__() for i in range(0, len(things), 5))


def test_no_scene_is_in_two_splits_and_none_stands_where_still_pictures_stand():
    splits = collections.defaultdict(set)
    plan = motion.plan(Motion(objects=[1.0, 0.0, 0.0]))
    for clip in plan:
        splits[seen(clip.scene)].add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert not {clip.scene.ground[1] for clip in plan} & set(STILL_GROUNDS)


def test_most_test_captions_name_a_direction_of_time(plan):
    test = [clip for clip in plan if clip.split == "test"]
    assert sum(captions.action(clip.scene) != "" for clip in test) >= len(test) / 2
    assert {len(clip.captions) for clip in test} == {1}
    assert {len(clip.captions) for clip in plan if clip.split == "train"} == {5}


def test_an_action_is_of_a_kind_and_two_kinds_are_several():
    def kind(*actions):
        return captions.action(scene.Scene(tuple(scene.Thing("star", "red", "big", action, 0.5, 0.5) for action in actions), ("dark", 0)))

    kinds = {"left": "moves", "shrink": "sizes", "fade in": "fades", "recolour": "colours", "spin": "", "stay": ""}
    assert {action: kind(action) for action in kinds} == kinds
    assert kind("up", "blink", "down") == "moves" and kind("up", "grow") == kind("grow", "spin", "up") == "several"
    assert {action for of in scene.KINDS.values() for action in of} == set(scene.DIRECTED), "no directed one without a kind"


def test_every_kind_of_file_every_action_and_one_to_three_objects_occur(plan):
    assert {clip.form.kind for clip in plan} == set(files.KINDS)
    assert {thing.action for clip in plan for thing in clip.scene.things} == {*scene.DIRECTED, *scene.UNDIRECTED}
    assert {len(clip.scene.things) for clip in plan} == {1, 2, 3}


def test_the_plan_follows_from_the_seed_and_more_training_clips_leave_the_test_set_alone(plan):
    def test_set(clips):
        return [(clip.scene, clip.captions, clip.form) for clip in clips if clip.split == "test"]

    assert test_set(motion.plan(Motion(train=50, val=60, test=200))) == test_set(plan)
    assert test_set(motion.plan(Motion(seed=8, train=50, val=60, test=200))) != test_set(plan)


def test_captions_fit_the_words_of_the_default_configuration(plan):
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()
    longest = max((text for clip in plan for text in clip.captions), key=lambda text: len(tokenizer.encode(text)))
    single = max(len(tokenizer.encode(c)) + 2 for clip in plan if len(clip.scene.things) == 1 for c in clip.captions)
    assert single <= 24
    assert len(tokenizer.encode(longest)) + 2 <= 40


@pytest.mark.parametrize("action", scene.DIRECTED)
def test_a_directed_action_played_backwards_is_its_opposite(action):
    thing = scene.Thing("star", "red", "big", action, 0.5, 0.5, "blue" if action == "recolour" else "")
    other = dataclasses.replace(thing, action=REVERSED[action])
    if action == "recolour":
        other = dataclasses.replace(thing, colour="blue", recolour="red")
    for u in (0.0, 0.3, 1.0):
        forwards, backwards = scene.state(thing, u), scene.state(other, 1 - u)
        assert forwards.x == pytest.approx(backwards.x) and forwards.y == pytest.approx(backwards.y)
        assert forwards.radius == pytest.approx(backwards.radius) and forwards.alpha == pytest.approx(backwards.alpha)
        assert forwards.colour == pytest.approx(backwards.colour)


@pytest.mark.parametrize("action", ["blink", "stay"])
def test_an_undirected_action_played_backwards_is_itself(action):
    thing = scene.Thing("star", "red", "big", action, 0.5, 0.5)
    for u in (0.0, 0.2, 0.45):
        assert scene.state(thing, u).alpha == scene.state(thing, 1 - u).alpha


def test_pictures_have_smooth_edges_and_the_object_where_the_scene_says():
    chosen = scene.Scene((scene.Thing("circle", "red", "big", "left", 0.5, 0.5),), ("light", 2))
    canvas = render.ground(chosen, height=120, width=160)
    first, last = (render.frame(chosen, u, canvas=canvas).astype(int) for u in (0.0, 1.0))
    for picture, x in ((first, 80 + 0.29 * 120), (last, 80 - 0.29 * 120)):
        red = (picture[:, :, 0] - picture[:, :, 1]) > 100
        assert abs(np.nonzero(red)[1].mean() - x) < 1
    values = np.unique(first[:, :, 1])
    assert len(values) > 50


@pytest.mark.parametrize("kind", files.KINDS)
def test_each_kind_of_file_holds_what_it_claims_and_transcodes_upright(tmp_path, kind):
    odd = 1 if kind == "odd" else 0
    form = files.Form(kind, 160 + odd, 120 + odd, 12, 2.0, 440 if kind in ("mp4", "avi", "mkv") else 0)
    chosen = scene.Scene((scene.Thing("square", "blue", "big", "up", 0.3, 0.5),), ("light", 2))
    for name in ("a", "b"):
        files.write(chosen, tmp_path / f"{name}{form.suffix}", form=form, seed=1)
    path = tmp_path / f"a{form.suffix}"
    assert path.read_bytes() == (tmp_path / f"b{form.suffix}").read_bytes()
    assert [p.name for p in tmp_path.glob(".*")] == []
    row = transcode(path, tmp_path / "clip.mp4", settings=Clips(short_side=96, fps=6))
    assert (row["status"], row["reason"]) == ("ok", "")
    assert row["has_audio"] == bool(form.audio)
    assert row["out_width"] > row["out_height"] == 96
    if kind == "variable":
        with av.open(str(path)) as container:
            times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
        assert len(set(np.diff(sorted(times)))) > 1
    first, last = read_frames(tmp_path / "clip.mp4", [0, row["out_frames"] - 1], size=64).astype(int)
    for picture, below in ((first, True), (last, False)):
        blue = np.nonzero(picture[2] - picture[0] > 80)
        assert blue[1].mean() < 32
        assert (blue[0].mean() > 32) == below


def test_still_captions_hold_the_verbs_of_the_clips_and_only_the_end_of_a_scene_is_told():
    texts = _piece(0, 0, first=0)[1]
    assert any("moves to the left" in text or "slides left" in text or "drifts left" in text for text in texts)
    rng = np.random.default_rng(0)
    chosen = scene.Scene((scene.Thing("star", "red", "big", "left", 0.5, 0.5),), ("light", 0))
    early = {captions.still_caption(chosen, 0.2, rng) for _ in range(200)}
    late = {captions.still_caption(chosen, 0.9, rng) for _ in range(200)}
    verbs = captions.MOVING
    assert not [text for text in early if any(verb in text for verb in verbs)]
    assert [text for text in late if any(verb in text for verb in verbs)]


def test_a_placed_caption_tells_looks_and_place_but_no_size_and_no_deed():
    rng = np.random.default_rng(0)
    fading = scene.Scene((scene.Thing("star", "red", "big", "fade out", 0.5, 0.5),), ("light", 0))
    assert {captions.placed_caption(fading, 1.0, rng) for _ in range(20)} == {f"{a} faint red star in the middle" for a in ("a", "the")}
    things = (scene.Thing("star", "red", "big", "left", 0.5, 0.5), scene.Thing("circle", "green", "small", "recolour", 0.2, 0.8, "blue"))
    for u, told in {
        0.0: ("red star on the right", "green circle at the bottom left"),
        0.5: ("red star in the middle", "circle at the bottom left"),
        1.0: ("red star on the left", "blue circle at the bottom left"),
    }.items():
        said = {captions.placed_caption(scene.Scene(things, ("light", 0)), u, rng) for _ in range(100)}
        assert said == {f"{a} {told[0]}{join}{b} {told[1]}" for a in ("a", "the") for b in ("a", "the") for join in (" and ", " with ")}


def test_the_tiny_clip_reads_the_words_of_the_world():
    assert build("clip-tiny").context_length == 32
