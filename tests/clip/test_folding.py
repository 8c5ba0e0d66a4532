"""Folding follows from what is attached: changes of weights fold away, whatever else is there does not."""

import pytest
import torch

from pipeline.clip.folding import NO, PART, YES, folds
from tests.conftest import small_clip


def attached(where):
    """A CLIP with a change of a weight, and with something in another place."""
    clip = small_clip()
    clip.text.hooks[1].weights["mlp.c_fc.weight"] = lambda weight: 2 * weight
    where(clip)
    return clip


PLACES = {
    "pixels": lambda clip: clip.vision.pixels.append(None),
    "embedding": lambda clip: clip.text.embedding.append(None),
    "before": lambda clip: clip.vision.hooks[0].before.append(None),
    "attention": lambda clip: clip.vision.hooks[2].attention.append(None),
    "between": lambda clip: clip.vision.hooks[2].between.append(None),
    "mlp": lambda clip: clip.text.hooks[0].mlp.append(None),
    "after": lambda clip: clip.text.hooks[0].after.append(None),
    "mask": lambda clip: setattr(clip.text.hooks[0], "mask", len),
    "frame_head": lambda clip: clip.frame_head.append(None),
    "text_head": lambda clip: clip.text_head.append(None),
    "side": lambda clip: setattr(clip.text, "side", len),
    "frame_weights": lambda clip: setattr(clip, "frame_weights", len),
    "query_temperature": lambda clip: setattr(clip, "query_temperature", 5.0),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_fold_away_and_what_stands_in_another_place_does_not(place):
    clip = attached(PLACES[place])
    assert folds(clip) == PART
    clip.merge()
    assert folds(clip) == NO  # nothing is left that could


def test_weights_alone_fold_away_and_a_loss_of_training_is_no_part_of_the_towers():
    clip = attached(lambda clip: clip.losses.append(None))
    assert folds(clip) == folds(small_clip()) == YES
    clip.unfreeze(lambda name: name == "visual.proj")
    assert folds(clip) == YES
    clip.merge()
    assert folds(clip) == YES and torch.equal(clip.text.blocks[1].mlp.c_fc.weight, 2 * small_clip().text.blocks[1].mlp.c_fc.weight)
