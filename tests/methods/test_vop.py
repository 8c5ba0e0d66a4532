"""VoP and its video prompts against naive rewrites of vop.md 2 to 6, their counts, their identities, and the two text layouts."""

import pytest
import torch

from pipeline import methods
from tests.conftest import make_batch, small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


def attach(clip, run="vop", **config):
    torch.manual_seed(3)
    return methods.attach(clip, methods.load(run, config=config), shape=SHAPE)


def naive_vision(clip, pixels):
    visual, prompts = clip.model.visual, clip.adapter.visual_prompts
    z = visual.conv1(pixels).flatten(2).transpose(1, 2)
    z = torch.cat([visual.class_embedding.expand(len(z), 1, -1), z], 1) + visual.positional_embedding
    for layer, block in enumerate(visual.transformer.resblocks):
        z = torch.cat([z[:, :1], prompts[layer].expand(len(z), -1, -1), z[:, 1:]], 1)
        if layer == 0:
            z = visual.ln_pre(z)
        z = block(z)
        z = torch.cat([z[:, :1], z[:, 1 + prompts.shape[1] :]], 1)
    return visual.ln_post(z[:, 0]) @ visual.proj


def naive_upper_text(clip, ids, *, first):
    """Captions one by one, without padding: plain below `first`, from there on with prompts that have no positions."""
    model, prompts, found = clip.model, clip.adapter.text_prompts, []
    for row in ids:
        own = row[: int(row.argmax()) + 1]
        x = (model.token_embedding(own) + model.positional_embedding[: len(own)])[None]
        for layer, block in enumerate(model.transformer.resblocks):
            if layer >= first:
                x = torch.cat([x[:, :1], prompts[layer - first][None], x[:, 1:]], 1)
            x = block(x, attn_mask=naive.causal(x.shape[1]))
            if layer >= first:
                x = torch.cat([x[:, :1], x[:, 1 + prompts.shape[1] :]], 1)
        found.append(model.ln_final(x[0, -1]) @ model.text_projection)
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize("words", [12, 20])
def test_prompts_in_the_last_layers_of_text_need_no_room_in_the_context(words):
    clip = methods.attach(small_clip(), methods.load("vop", config={"last_blocks": 2}), shape=methods.Shape(4, words))
    clip.adapter.text_prompts.mul_(20)
    ids = clip.tokenize(make_batch(long=True)[2], num_words=words)
    assert ids[2].argmax() == words - 1
    torch.testing.assert_close(clip.encode_text(ids), naive_upper_text(clip, ids, first=1), atol=1e-5, rtol=1e-5)


def naive_text(clip, ids, head, tail):
    model, prompts = clip.model, clip.adapter.text_prompts
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


# Trainable entries on ViT-B/32 (vop.md 2 to 6), with 12 frames.
COUNTS = {
    ("vop", ()): 122_880,
    ("vop_p", ()): 528_384,
    ("vop_c", ()): 14_257_152,
    ("vop_f", ()): 132_096,
    ("vop_fp", ()): 402_432,
    ("vop_fc", ()): 14_278_656,
    ("vop", (("depth", 3),)): 3 * 8 * (768 + 512),
    ("vop", (("text_prompts", 0),)): 12 * 8 * 768,
    ("vop", (("visual_prompts", 0),)): 12 * 8 * 512,
    ("vop_f", (("shallow", 12),)): 122_880,
    ("vop_c", (("context", "lstm"),)): 122_880 - 12 * 4 * 768 + 2 * 4 * 768 * (768 + 1) + 768 * 3072 + 3072,
    ("vop_c", (("context", "transformer"),)): 122_880 - 12 * 4 * 768 + 4 * (12 * 768**2 + 13 * 768) + 12 * 768 + 768 * 3072 + 3072,
}


@pytest.mark.parametrize(("run", "config"), COUNTS)
def test_vit_b32_has_the_published_number_of_trainable_parameters(base_clip, run, config):
    assert naive.count(base_clip, run, words=69, **dict(config)) == COUNTS[run, config]


def lstm_step(lstm, suffix, x, h, c):
    gates = x @ getattr(lstm, f"weight_ih_l0{suffix}").T + getattr(lstm, f"bias_ih_l0{suffix}")
    gates = gates + h @ getattr(lstm, f"weight_hh_l0{suffix}").T + getattr(lstm, f"bias_hh_l0{suffix}")
    i, f, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def context_prompts(context, cls):
    """CLS tokens (T, D) -> prompts (T, S, D), by the equations of a bidirectional LSTM."""
    both = []
    for suffix, order in (("", range(len(cls))), ("_reverse", reversed(range(len(cls))))):
        h = c = torch.zeros(cls.shape[1])
        out = {}
        for t in order:
            h, c = lstm_step(context.lstm, suffix, cls[t], h, c)
            out[t] = h
        both.append(torch.stack([out[t] for t in range(len(cls))]))
    mixed = torch.cat(both, -1) @ context.out.weight.T + context.out.bias
    return mixed.view(len(cls), context.number, cls.shape[1])


def naive_video(clip, frames, *, shallow, first=0):
    """All of vop.md 2 to 6 for one video without padding."""
    adapter, visual, frames_number = clip.adapter, clip.model.visual, len(frames)
    z = naive.embed(clip, frames)
    if first:
        z = visual.ln_pre(z)
    for layer, block in enumerate(visual.transformer.resblocks):
        if layer < first:
            z = block(z)
            continue
        if layer < shallow:
            prompts = []
            if hasattr(adapter, "visual_prompts"):
                prompts.append(adapter.visual_prompts[layer - first].expand(frames_number, -1, -1))
            if hasattr(adapter, "position_prompts"):
                prompts.append(adapter.position_prompts[layer - first, :frames_number])
            if hasattr(adapter, "context"):
                prompts.append(context_prompts(adapter.context, z[:, 0]))
            z = torch.cat([z[:, :1], *prompts, z[:, 1:]], 1)
            if layer == 0:
                z = visual.ln_pre(z)
            z = block(z)
            z = torch.cat([z[:, :1], z[:, 9:]], 1)
            continue
        if layer == shallow:
            z = z + adapter.frame_position[:frames_number, None]
            cls, patches = z[:, 0], z[:, 1:].reshape(-1, z.shape[-1])
        q = block(torch.cat([cls, adapter.video_prompts[layer - shallow], patches])[None])[0]
        cls, patches = q[:frames_number], q[frames_number + 8 :]
    if shallow < len(visual.transformer.resblocks):
        z = cls[:, None]
    return naive.read(clip, z)


@torch.no_grad()
@pytest.mark.parametrize(
    ("run", "shallow"), [("vop", 3), ("vop_p", 3), ("vop_c", 3), ("vop_f", 2), ("vop_fp", 2), ("vop_fc", 2), ("vop_f", 1), ("vop_fc", 1)]
)
def test_every_variant_equals_a_naive_rewrite_of_one_video_at_a_time(batch, run, shallow):
    clip = naive.attach(run, shallow=shallow)
    naive.videos(clip, batch, lambda frames: naive_video(clip, frames, shallow=shallow))


@torch.no_grad()
@pytest.mark.parametrize(
    ("run", "first", "shallow"),
    [("vop", 1, 3), ("vop", 2, 3), ("vop_p", 1, 3), ("vop_c", 2, 3), ("vop_f", 1, 2), ("vop_f", 2, 2), ("vop_fp", 1, 2), ("vop_fc", 1, 2)],
)
def test_every_variant_in_the_last_blocks_equals_a_naive_rewrite_too(batch, run, first, shallow):
    clip = naive.attach(run, last_blocks=3 - first)
    naive.videos(clip, batch, lambda frames: naive_video(clip, frames, shallow=shallow, first=first))


@torch.no_grad()
def test_tables_follow_clip_when_it_is_moved_after_they_were_attached(batch):
    """A move gives parameters new memory; who took rows before keeps the old."""
    clip = attach(small_clip(), "vop_f").to(torch.float64)
    frames, mask, _ = batch
    before = clip.encode_frames(frames, mask=mask)
    clip.adapter.video_prompts.normal_()
    assert not torch.allclose(clip.encode_frames(frames, mask=mask), before)


@torch.no_grad()
def test_function_specific_prompts_equal_vop_with_all_layers_shallow_and_with_one_frame_and_no_positions(batch):
    frames, mask, _ = batch
    plain = attach(small_clip())
    prompts = plain.adapter.visual_prompts
    every = attach(small_clip(), "vop_f", shallow=3)
    every.adapter.visual_prompts.copy_(prompts)
    torch.testing.assert_close(every.encode_frames(frames, mask=mask), plain.encode_frames(frames, mask=mask), atol=0, rtol=0)
    joined = attach(small_clip(), "vop_f", shallow=1)
    joined.adapter.visual_prompts.copy_(prompts[:1])
    joined.adapter.video_prompts.copy_(prompts[1:])
    joined.adapter.frame_position.zero_()
    one = (frames[:, :1], mask[:, :1])
    torch.testing.assert_close(joined.encode_frames(one[0], mask=one[1]), plain.encode_frames(one[0], mask=one[1]), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_without_positions_joined_frames_may_come_in_any_order(batch):
    clip = naive.attach("vop_f")
    clip.adapter.frame_position.zero_()
    frames, mask = batch[0][:2], batch[1][:2]
    forwards, backwards = clip.encode_frames(frames, mask=mask), clip.encode_frames(frames.flip(1), mask=mask)
    torch.testing.assert_close(forwards, backwards.flip(1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_prompts_of_a_shallow_depth_flow_on_to_the_top(batch):
    """vop.md 2.3: outputs are dropped only where the next layer has prompts of its own."""
    clip = naive.attach("vop", depth=1)

    def one(frames):
        z = naive.embed(clip, frames)
        z = clip.model.visual.ln_pre(torch.cat([z[:, :1], clip.adapter.visual_prompts[0].expand(len(z), -1, -1), z[:, 1:]], 1))
        for block in clip.vision.blocks:
            z = block(z)
        return naive.read(clip, z)

    naive.videos(clip, batch, one)


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
        clip.adapter.text_prompts.grad = None
        clip.encode_text(clip.tokenize([caption], num_words=12)).sum().backward()
        gradient = clip.adapter.text_prompts.grad
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
    with pytest.raises(ValueError, match="depth 2 of 3 layers is defined for plain VoP only"):
        attach(small_clip(), "vop_f", depth=2)
    with pytest.raises(ValueError, match="of which there are none"):
        attach(small_clip(), "vop_f", visual_prompts=0)
    with pytest.raises(ValueError, match="specific_prompts is 9 of 8"):
        attach(small_clip(), "vop_p", specific_prompts=9)
    with pytest.raises(ValueError, match="shallow is 4 and depth None; small has 3 layers"):
        attach(small_clip(), "vop_f", shallow=4)
    with pytest.raises(ValueError, match="needs an even number"):
        methods.attach(clip, methods.load("vop", config={"text_layout": "release", "text_prompts": 7}), shape=SHAPE)


@pytest.mark.parametrize(
    ("run", "config", "message"),
    [
        ("vop", {"depth": 2, "last_blocks": 1}, "last_blocks is 1 and depth 2, which counts from the first layer; leave one of them out"),
        ("vop", {"text_layout": "release", "last_blocks": 2}, "last_blocks is 2 and text_layout 'release', .*; use prefix"),
        (
            "vop_f",
            {"shallow": 1, "last_blocks": 1},
            "last_blocks is 1 and shallow 1, but prompts begin in layer 2; set shallow to 2 or more",
        ),
        ("vop_fc", {"last_blocks": 1}, "last_blocks is 1, which leaves context prompts no layer below shallow 2; raise it, or use vop_f"),
    ],
)
def test_what_has_no_meaning_in_the_last_blocks_is_refused(run, config, message):
    with pytest.raises(ValueError, match=f"^vop: {message}$"):
        attach(small_clip(), run, **config)
