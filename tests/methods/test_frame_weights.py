"""Weights of frames by hand; the mean at the start and of padded videos; what is trained, counted and stored of it; refusals."""

import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.adapters.swap import put, take
from pipeline.cost import dead_parameters, measure
from pipeline.evaluation.embed import video_vectors
from pipeline.evaluation.similarity import pool, scores
from pipeline.inputs import frozen
from pipeline.methods.frame_weights import Weights
from pipeline.training.loss import contrastive
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

CPU = torch.device("cpu")


def attach(**config):
    return methods.attach(small_clip(), methods.load("frame_weights", config=config), shape=SHAPE)


@torch.no_grad()
def test_two_frames_by_hand():
    """M = 1, v = (1, -1), c = 5, temperature 2: (2, 0) has (2 - 0 + 5) / 2, (0, 4) has (0 - 4 + 5) / 2, three less; c changes nothing."""
    weights = Weights(2, 2, 2.0)
    weights.fc.weight.copy_(torch.eye(2))
    weights.fc.bias.zero_()
    weights.out.weight.copy_(torch.tensor([[1.0, -1.0]]))
    weights.out.bias.fill_(5)
    frames = torch.tensor([[[2.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    found = weights(frames, mask)
    less = torch.tensor(-3.0).exp().item()
    torch.testing.assert_close(found, torch.tensor([[1.0, less, 0.0]]))
    mean = torch.tensor([[1.0, less]])
    torch.testing.assert_close(pool(frames, mask=mask, weigh=weights), F.normalize(mean, dim=-1))


@torch.no_grad()
def test_at_the_start_the_mean_is_that_of_clip_bit_for_bit_and_later_it_is_not(batch):
    clip, bare, mask = attach(), small_clip(), batch[1]
    features = clip.encode_frames(batch[0], mask=mask)
    assert torch.equal(features, bare.encode_frames(batch[0], mask=mask))
    plain = video_vectors(bare, features, mask=mask)
    assert torch.equal(video_vectors(clip, features, mask=mask), plain) and torch.equal(plain, pool(features, mask=mask))
    moved = naive.attach("frame_weights")
    assert (video_vectors(moved, features, mask=mask) - plain).abs().max() > 1e-3
    texts = torch.randn(2, 16)
    found = scores(texts, features, mask=mask, temperature=None, weigh=moved.frame_weights)
    torch.testing.assert_close(found, F.normalize(texts, dim=-1) @ video_vectors(moved, features, mask=mask).T)


@torch.no_grad()
def test_what_is_in_padded_frames_and_how_many_there_are_changes_no_vector(batch):
    clip, mask = naive.attach("frame_weights"), batch[1]
    features = clip.encode_frames(batch[0], mask=mask)
    wanted = video_vectors(clip, features, mask=mask)
    features[~mask] = 1e4
    torch.testing.assert_close(video_vectors(clip, features, mask=mask), wanted)
    torch.testing.assert_close(video_vectors(clip, features[2:, :2], mask=mask[2:, :2]), wanted[2:])
    with pytest.raises(ValueError, match="a video has no real frame"):
        video_vectors(clip, features, mask=torch.zeros_like(mask))


def test_taken_off_and_put_back_it_weighs_as_before(batch):
    clip, mask = naive.attach("frame_weights"), batch[1]
    features = torch.randn(3, 4, 16)
    wanted = video_vectors(clip, features, mask=mask)
    held = take(clip)
    assert clip.frame_weights is None and not torch.equal(video_vectors(clip, features, mask=mask), wanted)
    put(clip, held)
    assert torch.equal(video_vectors(clip, features, mask=mask), wanted)


def test_only_the_last_bias_is_of_no_use_and_stores_of_finished_features_do():
    clip = attach()
    assert {reach.level for reach in frozen.reaches(clip).values()} == {clip.vision.top + 1}
    alive = dead_parameters.find_alive(clip, num_frames=4, num_words=12)
    assert {name for name, mask in alive.items() if not mask.all()} <= {"adapter.video.out.bias"}


def test_a_video_costs_the_maps_of_its_frames_more():
    found, plain = (measure.macs(clip, num_frames=4, num_words=12, device=CPU) for clip in (attach(width=8), small_clip()))
    assert found["macs_per_video"] - plain["macs_per_video"] == 4 * (16 * 8 + 8)
    assert found["macs_per_caption"] == plain["macs_per_caption"]


def test_vit_b32_has_263_169_trainable_parameters(base_clip):
    assert naive.count(base_clip, "frame_weights") == 512 * 512 + 512 + 512 + 1 == 263_169
    assert naive.count(base_clip, "frame_weights", width=64) == 512 * 64 + 64 + 64 + 1


@pytest.mark.parametrize("config", [{"width": -1}, {"temperature": 0.0}])
def test_a_width_below_zero_and_no_temperature_are_refused(config):
    with pytest.raises(ValueError, match="frame_weights: width is .* and temperature .*; give 0 or more, and more than 0"):
        attach(**config)


def test_it_learns_which_frames_say_nothing():
    """Two of four frames show the video, two the same for all videos: the mean of all is mostly of the latter."""
    torch.manual_seed(0)
    texts, dull = torch.randn(16, 16), 5 * torch.randn(16)
    frames = torch.stack([texts, dull.expand_as(texts), texts + 0.1 * torch.randn(16, 16), dull.expand_as(texts)], dim=1)
    mask, weights = torch.ones(16, 4, dtype=torch.bool), Weights(16, 16, 0.1)
    optimiser = torch.optim.Adam(weights.parameters(), lr=1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        loss = contrastive(scores(texts, frames, mask=mask, temperature=None, weigh=weights), scale=torch.tensor(20.0))
        loss.backward()
        optimiser.step()
    found = weights(frames, mask)
    assert found[:, [1, 3]].max() < 0.1 * found[:, [0, 2]].min()
