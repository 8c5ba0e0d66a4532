"""Pretraining of tiny CLIPs: repeatable, and it learns."""

import itertools
import re

import numpy as np
import pytest
import torch

from pipeline.clip import FrozenClip, build
from pipeline.config.schema import Pretrain
from pipeline.training import pretrain

PLACE = "(at the|on the|in the)( top| bottom)?( left| right| middle)?"
THING = f"(a|the)( faint)?( red| yellow| green| blue)? (circle|square|triangle|star) {PLACE}"
PLACED = re.compile(f"{THING}(( and| with) {THING})*")
SETTINGS = Pretrain(pairs=750, batch=25)


def run():
    torch.manual_seed(0)
    losses = []
    weights = pretrain.pretrain(
        SETTINGS, "clip-tiny", device=torch.device("cpu"), report=lambda step, steps, loss: losses.append((step, steps, loss))
    )
    return weights, losses


def test_two_pretrainings_give_the_same_bits_and_the_loss_falls():
    first, losses = run()
    second, _ = run()
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    assert [(step, steps) for step, steps, _ in losses] == [(n + 1, 30) for n in range(30)]
    assert np.mean([loss for _, _, loss in losses[-5:]]) < np.mean([loss for _, _, loss in losses[:5]]) - 0.3


def test_positions_can_be_seen_from_the_start_and_places_come_first():
    torch.manual_seed(0)
    still = Pretrain(pairs=25, batch=25, lr=1e-9)
    weights = pretrain.pretrain(still, "clip-tiny", device=torch.device("cpu"), report=lambda *_: None)
    assert abs(weights["visual.positional_embedding"].std() - 1) < 0.05
    texts = pretrain._piece(SETTINGS.seed, 0, first=400)[1]
    assert all(re.fullmatch(THING, text) for text in texts[:400]), "one object, its looks, its place"
    placed = [text for text in texts[400:] if PLACED.fullmatch(text)]
    assert 0.3 < len(placed) / 600 < 0.5, "PLACES of them, and some of the others"


def test_pictures_follow_from_the_seed_whatever_is_rendered_ahead():
    for number, (images, texts) in enumerate(itertools.islice(pretrain.pictures(SETTINGS), 2)):
        again, said = pretrain._piece(SETTINGS.seed, number, first=187)
        assert np.array_equal(images, again) and texts == said
        assert images.shape == (1000, 64, 64, 3) and len(set(texts)) > 300


@pytest.mark.parametrize(("name", "read", "falls"), [("clip-tiny-siglip", 32, 3), ("clip-tiny-pe", 20, 0.3)])
def test_a_sister_learns_by_the_loss_of_its_family_from_as_many_tokens_as_it_reads(name, read, falls, monkeypatch):
    lengths, losses, tokenize = set(), [], FrozenClip.tokenize

    def tokenized(clip, captions, *, num_words):
        lengths.add(num_words)
        return tokenize(clip, captions, num_words=num_words)

    monkeypatch.setattr(FrozenClip, "tokenize", tokenized)
    monkeypatch.setattr(pretrain, "PIECE", 48)
    torch.manual_seed(0)
    few = Pretrain(pairs=96, batch=12)
    weights = pretrain.pretrain(few, name, device=torch.device("cpu"), report=lambda *of: losses.append(of[2]))
    assert lengths == {read} and len(losses) == 8 and min(losses) < losses[0] - falls
    assert set(weights) == set(build(name).state_dict())
    if name == "clip-tiny-siglip":
        assert weights["logit_bias"] != -10 and abs(float(weights["logit_scale"].exp()) - 10) < 1


def test_what_sees_other_pictures_is_not_pretrained(monkeypatch):
    monkeypatch.setattr(pretrain, "SIZE", 32)
    with pytest.raises(ValueError, match=r"clip-tiny sees 64 pixels a side, and the pictures to pretrain on have 32"):
        pretrain.pretrain(SETTINGS, "clip-tiny", device=torch.device("cpu"), report=print)
