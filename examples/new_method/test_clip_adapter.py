"""CLIP-Adapter by hand, at its start, counted, and with a wrong setting. Goes to tests/methods/, beside the contract of all methods."""

import pytest
import torch

from pipeline import methods
from pipeline.methods.clip_adapter import ClipAdapter, Residual
from tests.conftest import make_batch, small_clip

SHAPE = methods.Shape(num_frames=4, num_words=12)


def test_a_feature_by_hand():
    head = Residual(2, 1, 0.5)
    head.down.weight.data, head.down.bias.data = torch.tensor([[1.0, -1.0]]), torch.tensor([1.0])
    head.up.weight.data = torch.tensor([[2.0], [4.0]])
    assert head(torch.tensor([[3.0, 1.0], [0.0, 2.0]])).tolist() == [[3 + 0.5 * 2 * 3, 1 + 0.5 * 4 * 3], [0.0, 2.0]]


def test_it_starts_as_clip_and_then_both_towers_change():
    frames, mask, captions = make_batch()
    clip = small_clip()
    ids = clip.tokenize(captions, num_words=12)
    before = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
    methods.attach(clip, ClipAdapter(), shape=SHAPE)
    features = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
    assert all(torch.equal(*pair) for pair in zip(before, features, strict=True))
    sum(part.square().sum() for part in features).backward()
    assert all(clip.trained()[f"adapter.{tower}.up.weight"].grad.abs().sum() for tower in ("vision", "text"))


@pytest.mark.parametrize(("towers", "number"), [("both", 2), ("vision", 1), ("text", 1)])
def test_it_trains_two_maps_a_tower(towers, number):
    clip = methods.attach(small_clip(), ClipAdapter(middle=8, towers=towers), shape=SHAPE)
    width = clip.embed_dim
    assert sum(p.numel() for p in clip.trained().values()) == number * (8 * width + 8 + width * 8 + width)


def test_a_wrong_tower_is_refused():
    with pytest.raises(ValueError, match=r"clip_adapter: towers is 'audio'; choose one of both, vision, text"):
        methods.attach(small_clip(), ClipAdapter(towers="audio"), shape=SHAPE)
