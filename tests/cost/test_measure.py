"""Multiply-accumulates against closed forms and against what others have counted."""

import pytest
import torch

from pipeline import methods
from pipeline.cost import measure
from tests.conftest import small_clip
from tests.cost.attached import attach
from tests.methods.cases import SHAPE

CPU = torch.device("cpu")


def tower(tokens, width, layers):
    """Multiply-accumulates of the blocks: 12 D^2 a token, and 2 D a pair of tokens."""
    return layers * (12 * width**2 * tokens + 2 * width * tokens**2)


def test_multiply_accumulates_equal_the_closed_form_with_attention():
    found = measure.macs(small_clip(), num_frames=4, num_words=12, device=CPU)
    frame = 4 * 3 * 16 * 16 * 32 + tower(5, 32, 3) + 32 * 16
    assert found["macs_per_video"] == 4 * frame
    assert found["macs_per_caption"] == tower(12, 16, 3) + 16 * 16


def test_prompts_cost_what_their_tokens_cost():
    clip = methods.attach(small_clip(), methods.load("vop", config={}), shape=methods.Shape(4, 12))
    found = measure.macs(clip, num_frames=4, num_words=12, device=CPU)
    assert found["macs_per_video"] == 4 * (4 * 3 * 16 * 16 * 32 + tower(13, 32, 3) + 32 * 16)
    assert found["macs_per_caption"] == tower(20, 16, 3) + 16 * 16


def test_a_recurrent_layer_is_counted():
    plain, clip = (attach(small_clip(), run, shape=SHAPE) for run in ("vop_p", "vop_c"))
    videos = [measure.macs(c, num_frames=4, num_words=12, device=CPU)["macs_per_video"] for c in (plain, clip)]
    # A frame and layer: two directions with four gates of 2 D inputs and D outputs, then 2 D -> four prompts of D.
    assert videos[1] - videos[0] == 3 * 4 * (2 * 4 * 2 * 32 * 32 + 2 * 32 * 4 * 32)


def test_the_count_does_not_depend_on_kernels_and_leaves_their_choice_alone():
    clip = small_clip()
    torch.backends.mha.set_fastpath_enabled(True)
    fast = measure.macs(clip, num_frames=2, num_words=12, device=CPU)
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.mkldnn.enabled and torch.backends.cudnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    assert measure.macs(clip, num_frames=2, num_words=12, device=CPU) == fast


@pytest.mark.parametrize("family", ["siglip", "pe"])
def test_trained_tensors_of_a_pool_are_counted_and_stay_trained(family):
    clip = small_clip(family=family)
    wanted = measure.macs(clip, num_frames=2, num_words=12, device=CPU)
    attach(clip, "full_finetune", shape=SHAPE)
    assert measure.macs(clip, num_frames=2, num_words=12, device=CPU) == wanted
    assert all(parameter.requires_grad for parameter in clip.trained().values()) and "clip.visual.attn_pool.query" in clip.trained()


# peers.md A.1, 12 frames of 224 pixels, in 10^9
GMACS = {
    "full_finetune": (52.9, 210.8),
    "adapter_ffn": (52.9 + 0.7, 210.8 + 2.8),
    "vop": (61.3, 219.6),
    "mv_adapter": (53.6, 213.6),
    "cm_adapter": (53.1, 211.5),
    "st_adapter": (57.1, 227.4),
    "aim": (76.4, 303.3),
}


@pytest.mark.parametrize("method", GMACS)
def test_multiply_accumulates_agree_with_the_survey_of_peers(method, base_clip):
    found = measure.macs(attach(base_clip, method), num_frames=12, num_words=32, device=CPU)
    assert found["macs_per_video"] / 1e9 == pytest.approx(GMACS[method][0], rel=0.002)
    base_clip.detach_all()


@pytest.mark.parametrize("method", GMACS)
def test_multiply_accumulates_of_smaller_patches_agree_too(method, b16_clip):
    """A video costs a + b T + c T^2; three short ones give the twelve frames exactly."""
    attach(b16_clip, method)
    one, two, three = (measure.macs(b16_clip, num_frames=t, num_words=32, device=CPU)["macs_per_video"] for t in (1, 2, 3))
    square = (three - 2 * two + one) / 2
    twelve = one + 11 * (two - one - 3 * square) + 143 * square
    assert twelve / 1e9 == pytest.approx(GMACS[method][1], rel=0.002)


def test_lora_costs_nothing_once_it_is_merged_and_little_before(base_clip):
    attach(base_clip, "lora")
    before = measure.macs(base_clip, num_frames=12, num_words=32, device=CPU)["macs_per_video"]
    base_clip.merge()
    after = measure.macs(base_clip, num_frames=12, num_words=32, device=CPU)["macs_per_video"]
    base_clip.detach_all()
    assert after == 12 * (49 * 3 * 32 * 32 * 768 + tower(50, 768, 12) + 768 * 512)
    # In each of 12 blocks a token goes down to 8 numbers and up to queries, keys and values.
    assert before == after + 12 * 12 * 50 * 8 * (768 + 3 * 768)
