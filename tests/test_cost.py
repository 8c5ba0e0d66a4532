"""Costs against closed forms."""

import torch

from pipeline import cost, methods
from tests.conftest import small_clip


def tower(tokens, width, layers):
    """Multiply-accumulates of the blocks: 12 D^2 a token, and 2 D a pair of tokens."""
    return layers * (12 * width**2 * tokens + 2 * width * tokens**2)


def test_multiply_accumulates_equal_the_closed_form_with_attention():
    found = cost.macs(small_clip(), num_frames=4, num_words=12, device=torch.device("cpu"))
    frame = 4 * 3 * 16 * 16 * 32 + tower(5, 32, 3) + 32 * 24
    assert found["macs_per_video"] == 4 * frame
    assert found["macs_per_caption"] == tower(12, 16, 3) + 16 * 24


def test_prompts_cost_what_their_tokens_cost():
    clip = methods.attach(small_clip(), methods.load("vop", config={}), shape=methods.Shape(4, 12))
    found = cost.macs(clip, num_frames=4, num_words=12, device=torch.device("cpu"))
    assert found["macs_per_video"] == 4 * (4 * 3 * 16 * 16 * 32 + tower(13, 32, 3) + 32 * 24)
    assert found["macs_per_caption"] == tower(20, 16, 3) + 16 * 24
