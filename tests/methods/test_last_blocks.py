"""`last_blocks`: names by layer, numbers, towers of different depth, refusals. What it leaves as CLIP is: test_contract.py proves."""

import re

import open_clip
import pytest
import torch

from pipeline import methods
from pipeline.clip import FrozenClip
from tests.conftest import SMALL, small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE, WHOLE, last, title


def attach(run, clip=None, **config):
    return methods.attach(clip or small_clip(), methods.load(run, config=config), shape=SHAPE)


def uneven(vision, text):
    """A CLIP whose towers have different numbers of blocks."""
    torch.manual_seed(0)
    parts = {tower: SMALL[tower] | {"layers": layers} for tower, layers in (("vision_cfg", vision), ("text_cfg", text))}
    return FrozenClip(open_clip.CLIP(**SMALL | parts), name="uneven")


def layers(clip):
    """Tower -> the layers that the names of its trained tensors hold."""
    found = {"vision": set(), "text": set(), "shared": set()}
    for name in clip.trained():
        if hit := re.match(r"(adapter\.(vision|text|shared)|clip\.(visual\.)?transformer\.resblocks)\.(\d+)\.", name):
            found[hit[2] or ("vision" if hit[3] else "text")].add(int(hit[4]))
    return found


NUMBERED = [(run, config) for run, config in last() if not run.startswith(("vop", "dgl", "coupled_prompts", "prompt_cube"))]


def test_names_hold_the_layers_of_the_blocks_in_their_tower():
    for run, config in NUMBERED:
        number = config["last_blocks"]
        expected = set(range(3 - number, 3))
        shared = expected if run == "cm_adapter" else set()
        found = layers(attach(run, **config))
        assert found == {"vision": expected, "text": expected, "shared": shared}, title((run, config))


@pytest.mark.parametrize(("vision", "text"), [(4, 2), (2, 4)])
def test_in_towers_of_different_depth_the_blocks_are_counted_from_the_top(vision, text):
    for run, config in NUMBERED:
        expected = {"vision": {vision - 2, vision - 1}, "text": {text - 2, text - 1}}
        found = layers(attach(run, uneven(vision, text), **config | {"last_blocks": 2}))
        assert {tower: found[tower] for tower in expected} == expected, run
        if run == "cm_adapter":
            assert found["shared"] == {2, 3}


def test_the_number_must_be_one_that_each_changed_tower_has():
    for run, config in last():
        for number, depth, tower in ((0, 4, "vision"), (-1, 4, "vision"), (5, 4, "vision"), (3, 2, "text")):
            with pytest.raises(ValueError, match=f"^last_blocks is {number}; the {tower} tower has {depth} blocks; give 1 to {depth}"):
                attach(run, uneven(4, 2), **config | {"last_blocks": number})


@pytest.mark.parametrize("run", ["st_adapter", "convpass", "aim"])
def test_a_tower_that_is_frozen_does_not_limit_the_number(run):
    found = layers(attach(run, uneven(4, 2), text="frozen", last_blocks=3))
    assert found == {"vision": {1, 2, 3}, "text": set(), "shared": set()}


def test_nor_does_a_tower_without_adapters_or_prompts():
    assert layers(attach("mv_adapter", uneven(4, 2), text=False, last_blocks=3))["vision"] == {1, 2, 3}
    assert attach("vop", uneven(4, 2), text_prompts=0, last_blocks=3).adapter.visual_prompts.shape == (3, 8, 32)


@pytest.mark.parametrize("run", WHOLE)
def test_what_is_not_chosen_by_block_says_so(run):
    with pytest.raises(ValueError, match="last_blocks is 2, but which is .*; use partial to train the last blocks"):
        attach(run, last_blocks=2)


# A block of ViT-B/32's tower of width D has 11 D biases (3 D in, D out, 4 D and D of the MLP, D of each norm) and two norms of 2 D.
WIDTHS = 768 + 512
COUNTS = {
    "adapter_attn": 5 * 1_982_976 // 12,
    "adapter_ffn": 5 * 1_982_976 // 12,
    "lora": 5 * 491_520 // 12,
    "dora": 5 * 537_600 // 12,
    "vera": 5 * 52_224 // 12,
    "visual_text_adapter": 5 * 11_821_056 // 12,
    "video_text_adapter": 5 * 11_945_472 // 12,
    "st_adapter": 5 * (7_110_144 + 793_344) // 12,
    "convpass": 5 * (327_552 + 793_344) // 12,
    "aim": 5 * (10_651_392 + 793_344) // 12,
    "cm_adapter": 5 * 519_168 // 12,
    "bias": (5 * 11 + 1) * WIDTHS,
    "ln": (5 * 4 + 2) * WIDTHS,
    "partial": 5 * 10_240_256,
    "vop": 5 * 8 * WIDTHS,
    "vop_p": 5 * 8 * WIDTHS + 5 * (12 - 1) * 4 * 768,
    "vop_f": 5 * 8 * WIDTHS + 12 * 768,
}


@pytest.mark.parametrize("run", COUNTS)
def test_five_blocks_of_vit_b32_have_their_part_of_the_parameters(base_clip, run):
    assert naive.count(base_clip, run, last_blocks=5) == COUNTS[run]


def test_frames_are_joined_at_the_earliest_where_the_last_blocks_begin(base_clip):
    """Two thirds of twelve layers are eight, below the first of two blocks."""
    assert naive.count(base_clip, "vop_f", last_blocks=2) == 2 * 8 * WIDTHS + 12 * 768
    assert naive.count(base_clip, "vop_f", last_blocks=2, part="adapter.video_prompts") == 2 * 8 * 768


def test_mv_adapter_has_its_gates_and_factors_beside_its_part(base_clip):
    untied, gates = 5 * (3_488_192 - 171_008) // 12, 3_572_736 - 3_488_192
    assert naive.count(base_clip, "mv_adapter", last_blocks=5) == untied + gates + (5 * 11 + 1) * WIDTHS


def names_of(run, **config):
    return {name.removeprefix("clip.") for name in attach(run, **config).trained() if name.startswith("clip.")}


def test_biases_and_norms_are_those_of_the_blocks_and_of_the_norm_behind_them():
    every = {name for name, _ in small_clip().model.named_parameters()}
    starts = ("visual.transformer.resblocks.2.", "visual.ln_post.", "transformer.resblocks.2.", "ln_final.")
    assert names_of("bias", last_blocks=1) == {name for name in every if name.startswith(starts) and name.endswith("bias")}
    norms = names_of("ln", last_blocks=1)
    assert norms == {name for name in every if name.startswith(starts) and "ln_" in name} and len(norms) == 2 * (4 + 2)
    assert names_of("mv_adapter", last_blocks=1, cmt_layers=1) == names_of("bias", last_blocks=1)
    text = {name for name in names_of("bias", last_blocks=1) if not name.startswith("visual.")}
    assert names_of("mv_adapter", last_blocks=1, cmt_layers=1, video=False) == text
    assert not names_of("mv_adapter", last_blocks=1, cmt_layers=1, clip_biases=False)


def test_mv_adapter_ties_changed_layers_only():
    with pytest.raises(ValueError, match="cmt_layers is 2, but only the last_blocks 1 have adapters to tie; set cmt_layers to at most 1"):
        attach("mv_adapter", last_blocks=1)
    assert not attach("mv_adapter", last_blocks=1, cmt_position="none").adapter["factors"]
    clip = attach("mv_adapter", last_blocks=3, cmt_layers=1)
    assert [layer for layer, adapter in clip.adapter["text"].items() if adapter.gate is not None] == ["2"]


@torch.no_grad()
def test_the_slices_of_cross_modal_adapters_are_tied_from_the_top():
    clip = attach("cm_adapter", uneven(4, 2), last_blocks=2, shared=6)
    for layer, tied in enumerate(("2", "3")):
        ((hook,), (other,)) = clip.text.hooks[layer].mlp, clip.vision.hooks[layer + 2].mlp
        branch = torch.randn(1, 3, 16), torch.randn(1, 3, 32)
        before = [change(x, None) for change, x in zip((hook, other), branch, strict=True)]
        clip.adapter["shared"][tied]["mlp"].bias += 1
        for change, x, old in zip((hook, other), branch, before, strict=True):
            torch.testing.assert_close(change(x, None) - old, torch.cat([torch.zeros(x.shape[-1] - 6), torch.ones(6)]).expand_as(x))


@torch.no_grad()
def test_positions_of_aim_are_added_where_its_blocks_begin_before_all_else(batch):
    clip = attach("aim", position=True, last_blocks=2)
    clip.adapter["frames"]["position"].copy_(torch.randn(4, 32))
    plain = small_clip()
    plain.vision.hooks[1].before.append(lambda tokens, _: tokens + clip.adapter["frames"]["position"].repeat(3, 1)[:, None])
    ours, expected = (c.encode_frames(batch[0], mask=batch[1]) for c in (clip, plain))
    torch.testing.assert_close(ours, expected, atol=0, rtol=0)  # its adapters are at zero
    assert not torch.allclose(ours, small_clip().encode_frames(batch[0], mask=batch[1]), atol=1e-3)
    seen = []
    clip.adapter["vision"]["1"]["time"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for shift in (0.0, 1.0):
        clip.adapter["frames"]["position"][0] += shift * torch.randn(32)
        clip.encode_frames(batch[0], mask=batch[1])
    assert not torch.allclose(*seen)
