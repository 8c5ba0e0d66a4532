"""Bottleneck adapters against their formulas, at both sites and in both placements, and their counts."""

import pytest
import torch

from pipeline import methods
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


def adapter(module, u):
    h = torch.relu(u @ module.down.weight.T + module.down.bias)
    return h @ module.up.weight.T + module.up.bias


def step(clip, tower, layer, x, *, site, placement, scale, mask=None):
    block, module = tower.blocks[layer], clip.adapter[tower.name][str(layer)]
    for name in ("attention", "mlp"):
        normed = block.ln_1(x) if name == "attention" else block.ln_2(x)
        branch = block.attention(normed, attn_mask=mask) if name == "attention" else block.mlp(normed)
        x = x + branch
        if name == site:
            x = x + scale * adapter(module, normed if placement == "parallel" else branch)
    return x


@torch.no_grad()
@pytest.mark.parametrize("placement", ["parallel", "sequential"])
@pytest.mark.parametrize(("run", "site", "scale"), [("adapter_attn", "attention", 1.0), ("adapter_ffn", "mlp", 0.1)])
def test_both_towers_equal_the_formula(batch, run, site, scale, placement):
    clip = naive.attach(run, placement=placement)
    how = {"site": site, "placement": placement, "scale": scale}

    naive.vision(clip, batch, lambda x, layer: step(clip, clip.vision, layer, x, **how))
    naive.texts(clip, batch, lambda x, layer: step(clip, clip.text, layer, x, mask=naive.causal(x.shape[1]), **how))


@pytest.mark.parametrize("run", ["adapter_attn", "adapter_ffn"])
def test_vit_b32_has_1_982_976_trainable_parameters_wherever_they_stand(base_clip, run):
    assert naive.count(base_clip, run) == 1_982_976
    assert naive.count(base_clip, run, placement="sequential") == 1_982_976


@pytest.mark.parametrize("setting", [{"placement": "beside"}, {"site": "norm"}, {"activation": "tanh"}])
def test_what_does_not_exist_is_refused_with_what_does(setting):
    with pytest.raises(ValueError, match="choose one of"):
        methods.attach(small_clip(), methods.load("adapter_ffn", config=setting), shape=SHAPE)
