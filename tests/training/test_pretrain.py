"""Pretraining of the tiny CLIP: repeatable, and it learns."""

import itertools

import numpy as np
import torch

from pipeline.config.schema import Pretrain
from pipeline.training import pretrain

SETTINGS = Pretrain(pairs=750, batch=25)


def run():
    torch.manual_seed(0)
    losses = []
    weights = pretrain.pretrain(SETTINGS, device=torch.device("cpu"), report=lambda step, steps, loss: losses.append((step, steps, loss)))
    return weights, losses


def test_two_pretrainings_give_the_same_bits_and_the_loss_falls():
    first, losses = run()
    second, _ = run()
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    assert [(step, steps) for step, steps, _ in losses] == [(n + 1, 30) for n in range(30)]
    assert np.mean([loss for _, _, loss in losses[-5:]]) < np.mean([loss for _, _, loss in losses[:5]]) - 0.3


def test_pictures_follow_from_the_seed_whatever_is_rendered_ahead():
    for number, (images, texts) in enumerate(itertools.islice(pretrain.pictures(SETTINGS), 2)):
        again, said = pretrain._piece(SETTINGS.seed, number)
        assert np.array_equal(images, again) and texts == said
        assert images.shape == (1000, 64, 64, 3) and len(set(texts)) > 300
