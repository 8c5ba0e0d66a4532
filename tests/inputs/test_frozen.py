"""How far up a tower nothing can change, derived from what is attached and checked against a run."""

import re

import pytest
import torch

from pipeline import methods
from pipeline.inputs import frozen
from tests.conftest import FAMILIES, make_batch, small_clip
from tests.methods.cases import SHAPE, cases, title


def at(level, run, *arguments, **options):
    """The value of something at a level; None where a method has joined frames, and there is nothing of a single one."""
    try:
        return run(level, *arguments, **options)
    except RuntimeError as error:
        if "unflatten" not in str(error):
            raise
        return None


def levels_of(clip):
    """Frames and captions at every level of both towers."""
    frames, mask, captions = make_batch(long=True)
    ids = clip.tokenize(captions, num_words=SHAPE.num_words)
    with torch.no_grad():
        vision = [at(level, clip.frames_at, frames, mask=mask) for level in range(1, clip.vision.top + 2)]
        text = [at(level, clip.text_at, ids) for level in range(1, clip.text.top + 2)]
    return {"vision": vision, "text": text}


@pytest.mark.parametrize("case", [(*case, family) for family in FAMILIES for case in cases(family)], ids=title)
def test_the_reach_is_the_highest_level_that_training_leaves_alone(case):
    name, config, family = case
    plain = levels_of(small_clip(family=family))
    clip = methods.attach(small_clip(family=family), methods.load(name, config=config), shape=SHAPE)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(torch.randn_like(parameter))
    found = levels_of(clip)
    for tower, reach in frozen.reaches(clip).items():
        same = [b is not None and a.shape == b.shape and torch.equal(a, b) for a, b in zip(plain[tower], found[tower], strict=True)]
        taps = getattr(clip, tower).taps
        if taps:  # a side module reads tokens that nothing changes, from its lowest tap on
            assert same == [True, True, True, False] and reach.level == min(*taps, 2)
        else:
            assert same == [level <= reach.level for level in range(1, 5)], (tower, reach)
        assert bool(reach.reason) == (reach.level <= 3)


@pytest.mark.parametrize(
    ("name", "config", "level", "reason"),
    [
        ("ln", {"last_blocks": 1}, 2, "block 2 .* changed by training clip.visual.transformer.resblocks.2.ln_1.weight"),
        ("proj", {}, 3, "the last norm and the projection of the vision tower are changed by training clip.visual.proj.weight"),
        ("zero_shot", {}, 4, "^$"),
    ],
)
def test_the_reach_of_a_tower_that_attention_reads(name, config, level, reason):
    clip = methods.attach(small_clip(family="pe"), methods.load(name, config=config), shape=SHAPE)
    reach = frozen.reaches(clip)["vision"]
    assert reach.level == level and re.search(reason, reach.reason)
    clip.unfreeze(lambda name: name == "visual.attn_pool.query")
    reach = frozen.reaches(clip)["vision"]
    assert reach.level == 2 and (level == 2 or "the pooling of the vision tower is changed by training clip.visual.attn" in reach.reason)


@pytest.mark.parametrize(
    ("name", "config", "tower", "level", "reason"),
    [
        ("mv_adapter", {"last_blocks": 2}, "vision", 1, r"block 1 \(of 0 to 2\) .* changed by adapter.vision.1 \(VideoAdapter\)"),
        ("partial", {}, "text", 2, "block 2 .* changed by training clip.transformer.resblocks.2.ln_1.weight"),
        ("proj", {}, "vision", 3, "the last norm and the projection of the vision tower are changed by training clip.visual.proj"),
        ("vop", {}, "vision", 0, r"the embedding of the vision tower is changed by adapter.visual_prompts \(Parameter\)"),
        ("lora", {"last_blocks": 1}, "vision", 2, r"block 2 .* changed by adapter.vision.2.qkv \(Change\)"),
        ("zero_shot", {}, "text", 4, "^$"),
    ],
)
def test_the_reason_names_the_block_and_what_changes_it(name, config, tower, level, reason):
    clip = methods.attach(small_clip(), methods.load(name, config=config), shape=SHAPE)
    reach = frozen.reaches(clip)[tower]
    assert reach.level == level
    assert re.search(reason, reach.reason)


def test_a_tower_is_cached_whatever_the_other_one_does():
    clip = methods.attach(small_clip(), methods.load("mv_adapter", config={"video": False, "cmt_position": "none"}), shape=SHAPE)
    assert [reach.level for reach in frozen.reaches(clip).values()] == [4, 0]
