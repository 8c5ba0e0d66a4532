"""Which of CLIP's tensors each baseline trains, by name and by number."""

import math

import pytest
import torch

from pipeline import methods
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

COUNTS = {
    ("full_finetune", ()): 151_277_313,
    ("full_finetune", (("train_logit_scale", False),)): 151_277_312,
    ("clip4clip_full", ()): 123_540_993,
    ("bias", ()): 171_008,
    ("ln", ()): 65_536,
    ("proj", ()): 655_360,
    ("partial", ()): 10_240_256,
    ("partial", (("last_blocks", 12),)): 12 * 10_240_256,
    ("partial", (("last_blocks", None),)): 12 * 10_240_256,
}


@pytest.mark.parametrize(("run", "config"), COUNTS)
def test_vit_b32_has_the_published_number_of_trainable_parameters(base_clip, run, config):
    assert naive.count(base_clip, run, **dict(config)) == COUNTS[run, config]


def trained(run, **config):
    clip = methods.attach(small_clip(), methods.load(run, config=config), shape=SHAPE)
    return {name.removeprefix("clip.") for name in clip.trained()}, {name for name, _ in clip.model.named_parameters()}


def test_each_baseline_trains_the_tensors_of_its_name():
    full, every = trained("full_finetune")
    assert full == every
    assert trained("bias")[0] == {name for name in every if name.endswith("bias")}
    norms, _ = trained("ln")
    assert "visual.ln_pre.weight" in norms and "ln_final.bias" in norms and len(norms) == 2 * (2 + 1 + 2 * 2 * 3)
    assert trained("proj")[0] == {"visual.proj", "text_projection"}
    assert {name.split("resblocks.")[1][0] for name in trained("partial", last_blocks=2)[0]} == {"1", "2"}
    frozen = every - trained("clip4clip_full")[0]
    assert frozen == {
        "visual.conv1.weight",
        "visual.class_embedding",
        "visual.positional_embedding",
        "visual.ln_pre.weight",
        "visual.ln_pre.bias",
        "token_embedding.weight",
        "positional_embedding",
    }


def test_the_temperature_stays_at_most_100_where_it_is_trained_and_where_it_was_otherwise():
    for run, expected in (("full_finetune", math.log(100)), ("bias", 7.0)):
        clip = methods.attach(small_clip(), methods.load(run, config={}), shape=SHAPE)
        with torch.no_grad():
            clip.model.logit_scale.fill_(7.0)
        clip.limit_logit_scale()
        assert clip.model.logit_scale.item() == pytest.approx(expected)


def test_more_blocks_than_there_are_is_refused():
    with pytest.raises(ValueError, match="last_blocks is 4; the vision tower has 3 blocks; give 1 to 3"):
        trained("partial", last_blocks=4)
