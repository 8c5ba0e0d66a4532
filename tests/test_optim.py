"""Schedule, decay, pooling and loss, by hand."""

import math

import pytest
import torch

from pipeline import methods, optim
from pipeline.loss import contrastive
from pipeline.params import Train
from pipeline.similarity import pool
from tests.conftest import small_clip


def test_warm_up_is_linear_and_the_cosine_ends_near_zero():
    gains = [optim.factor(step, steps=10, warmup=0.2) for step in range(10)]
    assert gains[:2] == [0.5, 1.0]
    assert gains[2] == 1.0 and gains[6] == pytest.approx(0.5)
    assert gains[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert optim.factor(0, steps=1, warmup=0.0) == 1.0


def test_rates_and_decay_by_kind_of_tensor():
    clip = methods.attach(small_clip(), methods.load("mv_adapter", config={}), shape=methods.Shape(4, 12))
    optimiser = optim.adamw(clip.trained(), train=Train(lr=0.1, clip_lr=0.01, weight_decay=0.3))
    of = {id(p): (group["lr"], group["weight_decay"]) for group in optimiser.param_groups for p in group["params"]}
    named = clip.trained()
    assert of[id(named["adapter.vision.0.down.weight"])] == (0.1, 0.3)
    for plain in ("adapter.vision.0.down.bias", "adapter.vision.0.position", "adapter.vision.0.cc", "adapter.factors.0"):
        assert of[id(named[plain])] == (0.1, 0.0)
    assert of[id(named["clip.visual.ln_post.bias"])] == (0.01, 0.0)


def test_embeddings_prompts_and_the_class_token_are_not_decayed():
    clip = methods.attach(small_clip(), methods.load("full_finetune", config={}), shape=methods.Shape(4, 12))
    decayed = {name for name, p in clip.trained().items() if optim.is_matrix(name, p)}
    assert "clip.visual.conv1.weight" in decayed and "clip.visual.proj" in decayed and "clip.text_projection" in decayed
    assert not [name for name in decayed if "embedding" in name or "ln_" in name or "bias" in name]
    prompts = methods.attach(small_clip(), methods.load("vop", config={}), shape=methods.Shape(4, 12)).trained()
    assert not [name for name, p in prompts.items() if optim.is_matrix(name, p)]


def test_pooling_normalises_frames_first_and_ignores_padding():
    frames = torch.tensor([[[3.0, 0.0], [0.0, 5.0], [9.0, 9.0]]])
    expected = torch.tensor([[1.0, 1.0]]) / math.sqrt(2)
    torch.testing.assert_close(pool(frames, mask=torch.tensor([[True, True, False]])), expected)
    with pytest.raises(ValueError, match="no real frame"):
        pool(frames, mask=torch.zeros(1, 3, dtype=torch.bool))


def test_the_loss_is_the_mean_of_both_directions_by_hand():
    texts, videos = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # rows: (2, 2), (0, 0); columns: (2, 0), (2, 0)
    rows = (math.log(2) + math.log(2)) / 2
    columns = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert contrastive(texts, videos, scale=torch.tensor(2.0)).item() == pytest.approx((rows + columns) / 2)
