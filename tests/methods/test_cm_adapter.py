"""Cross-Modal Adapter against its formula, its two ways to score, what the towers share, and its counts."""

import pytest
import torch

from pipeline import methods
from pipeline.clip.kept_once import quick_gelu
from pipeline.evaluation.similarity import query_pair_scores, query_scores
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


def adapter(clip, tower, layer, site, h):
    own, shared = clip.adapter[tower][str(layer)][site], clip.adapter["shared"][str(layer)][site]
    z = quick_gelu(h @ own.down.weight.T + own.down.bias)
    return h + torch.cat([z @ own.up.weight.T + own.up.bias, z @ shared.weight.T + shared.bias], -1)


def step(clip, tower, layer, x, mask=None):
    block = tower.blocks[layer]
    x = x + adapter(clip, tower.name, layer, "attention", block.attention(block.ln_1(x), attn_mask=mask))
    return x + adapter(clip, tower.name, layer, "mlp", block.mlp(block.ln_2(x)))


@torch.no_grad()
def test_both_towers_equal_the_formula(batch):
    clip = naive.attach("cm_adapter", shared=6)

    naive.vision(clip, batch, lambda x, layer: step(clip, clip.vision, layer, x))
    naive.texts(clip, batch, lambda x, layer: step(clip, clip.text, layer, x, naive.causal(x.shape[1])))


def test_the_shared_slice_gets_gradient_from_both_towers(batch):
    clip = naive.attach("cm_adapter", shared=6)
    frames, mask, captions = batch
    found = []
    for out in (clip.encode_frames(frames, mask=mask), clip.encode_text(clip.tokenize(captions, num_words=12))):
        found.append(torch.autograd.grad(out.sum(), clip.adapter["shared"]["0"]["mlp"].weight)[0])
    assert all(g.abs().max() > 0 for g in found) and not torch.allclose(*found)


def test_query_scores_equal_a_loop_over_pairs_and_do_not_see_padded_frames():
    torch.manual_seed(0)
    texts, frames = torch.randn(3, 5), torch.randn(4, 6, 5)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[1, 2:] = False
    expected = torch.empty(3, 4)
    for q, text in enumerate(texts):
        for g in range(4):
            real = frames[g][mask[g]]
            weight = torch.softmax(real @ text / 5.0, 0)
            expected[q, g] = torch.cosine_similarity((weight[:, None] * real).sum(0), text, dim=0)
    frames[1, 2:4], frames[1, 4:] = 1e4, -1e4
    torch.testing.assert_close(query_scores(texts, frames, mask=mask, temperature=5.0), expected)
    torch.testing.assert_close(query_pair_scores(texts, frames[:3], mask=mask[:3], temperature=5.0), expected.diagonal())


def test_the_pooling_is_a_setting_and_mean_the_default():
    assert naive.attach("cm_adapter").query_temperature is None
    assert naive.attach("cm_adapter", pooling="query", temperature=2.0).query_temperature == 2.0
    with pytest.raises(ValueError, match="pooling is 'max'"):
        naive.attach("cm_adapter", pooling="max")
    with pytest.raises(ValueError, match="shared is 17"):
        methods.attach(small_clip(), methods.load("cm_adapter", config={"shared": 17}), shape=SHAPE)


def test_vit_b32_has_the_published_numbers_of_trainable_parameters(base_clip):
    assert naive.count(base_clip, "cm_adapter") == 519_168
    assert naive.count(base_clip, "cm_adapter", rank=16) == 1_008_000
    assert naive.count(base_clip, "cm_adapter", rank=16, shared=512) == 805_632
