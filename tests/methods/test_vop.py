"""VoP against a naive rewrite of vop.md 2, its counts, and what its two text layouts do."""

import pytest
import torch

from pipeline import methods
from tests.conftest import small_clip

SHAPE = methods.Shape(num_frames=4, num_words=12)


def attach(clip, **config):
    torch.manual_seed(3)
    return methods.attach(clip, methods.load("vop", config=config), shape=SHAPE)


def naive_vision(clip, pixels):
    visual, prompts = clip.model.visual, clip.adapter["visual_prompts"]
    z = visual.conv1(pixels).flatten(2).transpose(1, 2)
    z = torch.cat([visual.class_embedding.expand(len(z), 1, -1), z], 1) + visual.positional_embedding
    for layer, block in enumerate(visual.transformer.resblocks):
        z = torch.cat([z[:, :1], prompts[layer].expand(len(z), -1, -1), z[:, 1:]], 1)
        if layer == 0:
            z = visual.ln_pre(z)
        z = block(z)
        z = torch.cat([z[:, :1], z[:, 1 + prompts.shape[1] :]], 1)
    return visual.ln_post(z[:, 0]) @ visual.proj


def naive_text(clip, ids, head, tail):
    model, prompts = clip.model, clip.adapter["text_prompts"]
    x = model.token_embedding(ids)
    length = ids.shape[1] + head + tail
    for layer, block in enumerate(model.transformer.resblocks):
        x = torch.cat([x[:, :1], prompts[layer, :head].expand(len(x), -1, -1), x[:, 1:]], 1)
        x = torch.cat([x[:, :-1], prompts[layer, head:].expand(len(x), -1, -1), x[:, -1:]], 1)
        if layer == 0:
            x = x + model.positional_embedding[:length]
        x = block(x, attn_mask=model.attn_mask[:length, :length])
        if layer < len(model.transformer.resblocks) - 1:
            x = torch.cat([x[:, :1], x[:, 1 + head : length - 1 - tail], x[:, -1:]], 1)
    x = model.ln_final(x)
    return x[torch.arange(len(ids)), ids.argmax(1) + head + tail] @ model.text_projection


@pytest.mark.parametrize(("layout", "head", "tail"), [("prefix", 8, 0), ("release", 4, 4)])
def test_both_towers_equal_a_naive_rewrite(batch, layout, head, tail):
    clip = attach(small_clip(), text_layout=layout)
    frames, mask, captions = batch
    ids = clip.tokenize(captions, num_words=12)
    pixels = (frames.flatten(0, 1).float() / 255 - clip.mean) / clip.std
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_frames(frames, mask=mask).flatten(0, 1), naive_vision(clip, pixels), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(clip.encode_text(ids), naive_text(clip, ids, head, tail), atol=1e-6, rtol=1e-5)


def test_vit_b32_has_122_880_trainable_parameters(base_clip):
    methods.attach(base_clip, methods.load("vop", config={}), shape=methods.Shape(12, 69))
    assert sum(p.numel() for p in base_clip.trained().values()) == 122_880
    base_clip.detach_all()


def test_prefix_layout_ignores_what_follows_the_end_of_text_and_release_layout_does_not(batch):
    for layout, ignores in (("prefix", True), ("release", False)):
        clip = attach(small_clip(), text_layout=layout)
        ids = clip.tokenize(batch[2], num_words=12)
        changed = ids.clone()
        changed[torch.arange(12) > ids.argmax(1)[:, None]] = 300
        with torch.no_grad():
            assert torch.allclose(clip.encode_text(ids), clip.encode_text(changed), atol=1e-6) == ignores


def test_suffix_prompts_of_the_release_are_dead_for_short_captions_and_alive_for_full_ones():
    clip = attach(small_clip(), text_layout="release")
    for caption, alive in (("a red star", False), (" ".join(["star"] * 30), True)):
        clip.adapter["text_prompts"].grad = None
        clip.encode_text(clip.tokenize([caption], num_words=12)).sum().backward()
        gradient = clip.adapter["text_prompts"].grad
        assert bool(gradient[:, :4].any())
        assert bool(gradient[:, 4:].any()) == alive


def test_the_order_of_frames_never_changes_a_frame_feature(batch):
    clip = attach(small_clip())
    frames, mask, _ = batch
    with torch.no_grad():
        forwards = clip.encode_frames(frames[:2], mask=mask[:2])
        backwards = clip.encode_frames(frames[:2].flip(1), mask=mask[:2])
    torch.testing.assert_close(forwards, backwards.flip(1), atol=1e-6, rtol=1e-5)


def test_what_does_not_fit_is_refused_with_the_way_out(clip):
    with pytest.raises(ValueError, match="set dataset.words to at most 12"):
        methods.attach(clip, methods.load("vop", config={}), shape=methods.Shape(4, 13))
    with pytest.raises(ValueError, match="choose one of prefix, release"):
        methods.attach(clip, methods.load("vop", config={"text_layout": "suffix"}), shape=SHAPE)
    with pytest.raises(ValueError, match="needs an even number"):
        methods.attach(clip, methods.load("vop", config={"text_layout": "release", "text_prompts": 7}), shape=SHAPE)
