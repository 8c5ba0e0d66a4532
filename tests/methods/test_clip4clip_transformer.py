"""CLIP4Clip's sequence transformer: at the start it is CLIP's first text blocks; its count; frozen towers."""

import pytest
import torch

from pipeline import methods
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


@torch.no_grad()
def test_it_starts_as_the_text_tower_run_over_frames_without_a_mask(batch):
    clip = naive.attach("clip4clip_transformer", shake=0, layers=3)
    plain, (frames, mask, _) = small_clip(), batch
    features = plain.encode_frames(frames, mask=mask)
    found = clip.encode_frames(frames, mask=mask)
    for row, real in enumerate(mask.sum(1).tolist()):
        x = (features[row, :real] + plain.model.positional_embedding[:real])[None]
        for block in plain.text.blocks:
            x = block(x)
        torch.testing.assert_close(found[row, :real], features[row, :real] + x[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_captions_stay_those_of_clip(batch):
    ids = small_clip().tokenize(batch[2], num_words=12)
    torch.testing.assert_close(naive.attach("clip4clip_transformer").encode_text(ids), small_clip().encode_text(ids), atol=0, rtol=0)


def test_vit_b32_has_12_648_960_trainable_parameters(base_clip):
    assert naive.count(base_clip, "clip4clip_transformer") == 12_648_960


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="start is 'zero'"):
        naive.attach("clip4clip_transformer", start="zero")
    with pytest.raises(ValueError, match="21 frames, but 20 positions"):
        methods.attach(small_clip(), methods.load("clip4clip_transformer", config={}), shape=methods.Shape(21, SHAPE.num_words))
