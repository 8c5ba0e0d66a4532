"""Coupled prompts by hand and against a naive rewrite, in the lower and in the last blocks; their start, counts and refusals."""

import pytest
import torch

from pipeline import methods
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


def image(clip, layer, row):
    return clip.adapter["vision"][str(layer)](clip.adapter["shared"]["prompts"][row])


def rewritten(clip, *, first, number, prompts):
    """(vision, text) blocks of a tower whose layers from `first` on have prompts, `number` of them; below `first` nothing is changed."""

    def frames(x, layer):
        row = layer - first
        if 0 <= row < number and not (first == 0 and row == 0):
            x = torch.cat([x[:, :1], image(clip, layer, row).expand(len(x), -1, -1), x[:, -clip_patches(clip) :]], dim=1)
        return clip.vision.blocks[layer](x)

    def words(x, layer):
        row = layer - first
        if 0 <= row < number and not (first == 0 and row == 0):
            rest = x[:, 1:] if row == 0 else x[:, 1 + prompts :]
            x = torch.cat([x[:, :1], clip.adapter["shared"]["prompts"][row][None], rest], dim=1)
        return clip.text.blocks[layer](x, attn_mask=naive.causal(x.shape[1]))

    return frames, words


def clip_patches(clip):
    return len(clip.model.visual.positional_embedding) - 1


@torch.no_grad()
def test_in_the_lower_layers_both_towers_equal_a_naive_rewrite(batch):
    clip = naive.attach("coupled_prompts", layers=2, prompts=3)
    frames, words = rewritten(clip, first=0, number=2, prompts=3)
    table, model = clip.adapter["shared"]["prompts"], clip.model

    def embed(clip, pixels):
        z = naive.embed(clip, pixels)
        return torch.cat([z[:, :1], image(clip, 0, 0).expand(len(z), -1, -1), z[:, 1:]], dim=1)

    naive.vision(clip, batch, frames, embed=embed)
    for ids in clip.tokenize(batch[2], num_words=SHAPE.num_words):
        own = ids[: int(ids.argmax()) + 1]
        x = model.token_embedding(own)
        x = (torch.cat([x[:1], table[0], x[1:]]) + model.positional_embedding[: len(own) + 3])[None]
        for layer in range(3):
            x = words(x, layer)
        wanted = model.ln_final(x[0, -1]) @ model.text_projection
        torch.testing.assert_close(clip.encode_text(ids[None])[0], wanted, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_in_the_last_blocks_too(batch):
    clip = naive.attach("coupled_prompts", prompts=3, last_blocks=2, rank=4)
    frames, words = rewritten(clip, first=1, number=2, prompts=3)
    naive.vision(clip, batch, frames)
    naive.texts(clip, batch, words)


@torch.no_grad()
def test_a_visual_prompt_is_the_linear_image_of_the_text_prompt_of_its_layer():
    clip = methods.attach(small_clip(), methods.load("coupled_prompts", config={"rank": 1, "prompts": 1}), shape=SHAPE)
    narrow, wide = clip.adapter["vision"]["1"]
    narrow.weight.copy_(torch.eye(1, 16))
    wide.weight.copy_(2 * torch.arange(32.0)[:, None])
    clip.adapter["shared"]["prompts"][1, 0, 0] = 3
    assert torch.equal(image(clip, 1, 1), 6 * torch.arange(32.0)[None])
    assert list(clip.adapter["vision"]) == ["0", "1", "2"]  # as many layers as there are


@torch.no_grad()
def test_the_first_prompts_start_as_words_and_all_others_at_random():
    table = small_clip().model.token_embedding.weight
    ids = small_clip().tokenize(["a photo of a"], num_words=12)[0]
    for prompts, config in ((2, {}), (6, {}), (2, {"context": False}), (2, {"last_blocks": 2})):
        clip = methods.attach(small_clip(), methods.load("coupled_prompts", config={"prompts": prompts} | config), shape=SHAPE)
        first = clip.adapter["shared"]["prompts"][0]
        words = table[ids[1 : 1 + min(prompts, 4)]]
        assert torch.equal(first[: len(words)], words) == (not config)
        assert first[len(words) :].abs().max() < 0.1 if prompts > 4 else len(first) == prompts
    clip = methods.attach(small_clip(family="siglip"), methods.load("coupled_prompts", config={}), shape=SHAPE)
    ids = clip.tokenize(["a photo of a"], num_words=12)[0]
    assert torch.equal(clip.adapter["shared"]["prompts"][0], clip.model.token_embedding.weight[ids[:2]])


def test_vit_b32_has_3_555_072_trainable_parameters(base_clip):
    assert naive.count(base_clip, "coupled_prompts") == 9 * (2 * 512 + 512 * 768 + 768) == 3_555_072
    assert naive.count(base_clip, "coupled_prompts", layers=12, prompts=4) == 4_752_384
    assert naive.count(base_clip, "coupled_prompts", layers=12, prompts=5) == 4_758_528
    assert naive.count(base_clip, "coupled_prompts", layers=12, prompts=4, rank=8) == 147_456
    assert naive.count(base_clip, "coupled_prompts", last_blocks=5) == 5 * (2 * 512 + 512 * 768 + 768)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"last_blocks": 3, "layers": 2}, "last_blocks is 3, which all have prompts, and layers is 2; set layers to 3 or more"),
        ({"prompts": 0}, "prompts is 0, layers 9 and rank None; give at least 1 each"),
        ({"rank": 0}, "rank 0; give at least 1 each"),
        ({"prompts": 9}, "12 words and 9 text prompts do not fit the 20 tokens of small"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.attach(small_clip(), methods.load("coupled_prompts", config=config), shape=SHAPE)
