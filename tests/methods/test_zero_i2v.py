"""ZeroI2V by hand and against a naive rewrite; folded into CLIP; what frames see of each other; counts, products and refusals."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.clip import FrozenClip
from pipeline.clip.folding import NO, PART, folds
from pipeline.clip.tower import BlockHooks, Flow, Site
from pipeline.cost import measure
from pipeline.methods.zero_i2v import IN, OUT, LinearAdapter, look_around
from tests.conftest import SMALL, small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

TINY = {"middle": 8}


def test_an_adapter_before_and_behind_a_map_by_hand():
    """D = [1 0], U = [0 2]^T, e = 3, c = (0, 1), s = 1/2: L(z) = z + (0, z_1 + 3 + 1/2)."""
    adapter = LinearAdapter(2, 1, 0.5)
    for tensor, values in ((adapter.down.weight, [[1.0, 0.0]]), (adapter.up.weight, [[0.0], [2.0]])):
        tensor.data = torch.tensor(values)
    adapter.down.bias.data, adapter.up.bias.data = torch.tensor([3.0]), torch.tensor([0.0, 1.0])
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert adapter.before(weight).tolist() == [[1 + 2, 2], [3 + 4, 4]]
    assert adapter.constant(weight).tolist() == [2 * 3.5, 4 * 3.5]
    assert adapter.behind(weight).tolist() == [[1, 2], [3 + 1, 4 + 2]]
    assert adapter.behind_bias(torch.tensor([5.0, 6.0])).tolist() == [5, 6 + 5 + 3.5]


def block_of(width, heads):
    return open_clip.transformer.ResidualAttentionBlock(width, heads)


@torch.no_grad()
def test_a_head_sees_the_frame_before_and_another_the_one_behind_by_hand():
    """D = 4, two heads of two channels, two frames of one token: a head that looks at one token gives its value, whatever its key."""
    block = block_of(4, 2)
    for tensor in (block.attn.in_proj_weight, block.attn.in_proj_bias, block.attn.out_proj.bias):
        tensor.zero_()
    block.attn.in_proj_weight[8:] = torch.eye(4)  # values are the tokens
    block.attn.out_proj.weight.copy_(torch.diag(torch.tensor([1.0, 1.0, 10.0, 10.0])))
    normed = torch.tensor([[[1.0, 2.0, 3.0, 4.0]], [[5.0, 6.0, 7.0, 8.0]]])
    own = torch.tensor([[[1.0, 2.0, 30.0, 40.0]], [[5.0, 6.0, 70.0, 80.0]]])
    flow = Flow(num_frames=2, read=torch.zeros(1), frame_mask=torch.ones(1, 2, dtype=torch.bool))
    site = Site(stream=normed, normed=normed, flow=flow)
    # Frame 0 has none before it, frame 1 none behind it.
    both = look_around(block, BlockHooks(), heads=2)(own, site)
    assert both.tolist() == [[[1, 2, 70, 80]], [[1, 2, 70, 80]]]
    first = look_around(block, BlockHooks(), heads=1)(own, site)
    assert first.tolist() == [[[1, 2, 30, 40]], [[1, 2, 70, 80]]]
    flow.frame_mask = torch.tensor([[True, False]])
    assert look_around(block, BlockHooks(), heads=2)(own, site)[0].tolist() == [[1, 2, 30, 40]]


def through(adapter, z):
    return z + adapter.scale * adapter.up(adapter.down(z))


def formula(clip, x, layer, *, shifted=True):
    """A block of equations 1.4: each head by itself, of the frames of one video (T, L, D)."""
    block, four, heads = clip.vision.blocks[layer], clip.adapter["vision"][str(layer)], clip.vision.blocks[layer].attn.num_heads
    z = through(four["input"], block.ln_1(x))
    q, k, v = F.linear(z, block.attn.in_proj_weight, block.attn.in_proj_bias).unflatten(-1, (3, heads, -1)).unbind(2)
    seen = torch.empty_like(q)
    for t in range(len(x)):
        for head in range(heads):
            other = (max(t - 1, 0), min(t + 1, len(x) - 1))[head] if shifted and head < 2 else t
            scores = q[t, :, head] @ k[other, :, head].T / block.attn.head_dim**0.5
            seen[t, :, head] = scores.softmax(dim=-1) @ v[other, :, head]
    x = x + through(four["attention"], block.attn.out_proj(seen.flatten(2)))
    inner = block.mlp.gelu(block.mlp.c_fc(through(four["middle"], block.ln_2(x))))
    return x + through(four["output"], block.mlp.c_proj(inner))


def rewritten(clip, frames, *, shifted=True):
    x = naive.embed(clip, frames) + clip.adapter["frames"]["position"][: len(frames), None]
    x = clip.model.visual.ln_pre(x)
    for layer in range(clip.vision.top):
        x = formula(clip, x, layer, shifted=shifted)
    return naive.read(clip, x)


@torch.no_grad()
def test_frames_equal_a_naive_rewrite_and_texts_are_frozen_where_asked(batch):
    clip = naive.attach("zero_i2v", **TINY, scale=0.5, text="frozen")
    naive.videos(clip, batch, lambda frames: rewritten(clip, frames))
    ids = clip.tokenize(batch[2], num_words=SHAPE.num_words)
    assert torch.equal(clip.encode_text(ids), small_clip().encode_text(ids))


@torch.no_grad()
def test_equal_frames_are_as_in_the_block_that_shifts_nothing_and_two_that_differ_have_an_order(batch):
    clip = naive.attach("zero_i2v", **TINY)
    clip.adapter["frames"]["position"].zero_()
    pixels, mask = batch[0][:1, :2], batch[1][:1, :2]
    still = pixels[:, :1].expand_as(pixels)
    torch.testing.assert_close(clip.encode_frames(still, mask=mask)[0], rewritten(clip, still[0], shifted=False), atol=2e-5, rtol=1e-4)
    ahead, back = (clip.encode_frames(seen, mask=mask)[0] for seen in (pixels, pixels.flip(1)))
    assert (ahead - back.flip(0)).abs().max() > 1e-3
    assert not torch.allclose(ahead, rewritten(clip, pixels[0], shifted=False), atol=1e-3)


@torch.no_grad()
def test_more_frames_that_are_padded_change_nothing(batch):
    clip = naive.attach("zero_i2v", **TINY)
    pixels, mask = batch[0][:1], torch.tensor([[True, True, False, False]])
    short = clip.encode_frames(pixels[:, :2], mask=mask[:, :2])
    torch.testing.assert_close(clip.encode_frames(pixels, mask=mask)[:, :2], short, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["plain", "siglip", "pe"])
@torch.no_grad()
def test_adapters_fold_away_in_each_family_and_the_heads_stay(family, batch):
    clip = naive.attach("zero_i2v", small_clip(family=family), **TINY, text="frozen")
    before = clip.encode_frames(batch[0], mask=batch[1])
    assert folds(clip) == PART
    clip.merge()
    assert folds(clip) == NO and not any(hooks.weights for hooks in clip.vision.hooks) and len(clip.vision.hooks[0].attention) == 1
    torch.testing.assert_close(clip.encode_frames(batch[0], mask=batch[1]), before, atol=1e-5, rtol=1e-5)
    changed = {name.rsplit(".", 2)[-2] + "." + name.rsplit(".", 1)[-1] for name in clip.originals if ".0." in name}
    assert changed == {f"{part}.{kind}" for part in ("out_proj", "c_fc", "c_proj") for kind in ("weight", "bias")} | {
        "attn.in_proj_weight", "attn.in_proj_bias",
    }  # fmt: skip
    clip.detach_all()
    assert torch.equal(clip.encode_frames(batch[0], mask=batch[1]), small_clip(family=family).encode_frames(batch[0], mask=batch[1]))


@torch.no_grad()
def test_the_heads_look_with_the_weights_that_are_in_force(batch):
    """Other changes than one's own are in force, too, and so are tensors that were replaced."""
    block, hooks = small_clip().vision.blocks[0], BlockHooks()
    flow = Flow(num_frames=4, read=torch.zeros(3), frame_mask=batch[1])
    x = torch.randn(12, 5, 32)
    site = Site(stream=x, normed=x, flow=flow)
    hooks.weights = {f"{IN}weight": lambda w: 2 * w, f"{IN}bias": lambda b: b + 1, f"{OUT}weight": lambda w: -w}
    found = look_around(block, hooks, heads=2)(torch.zeros_like(x), site)
    for name, change in hooks.weights.items():
        block.get_parameter(name).copy_(change(block.get_parameter(name)))
    torch.testing.assert_close(look_around(block, BlockHooks(), heads=2)(torch.zeros_like(x), site), found)


def test_vit_b32_has_14_212_608_trainable_parameters_in_vision(base_clip):
    positions, norm = 12 * 768, 2 * 768
    adapter = 2 * 768 * 192 + 192 + 768
    assert naive.count(base_clip, "zero_i2v", text="frozen") == 48 * adapter + positions + norm == 14_212_608
    assert naive.count(base_clip, "zero_i2v") == 14_212_608 + 793_344
    assert naive.count(base_clip, "zero_i2v", text="frozen", middle=64) == 4_758_528 + 10_752 == 4_769_280
    assert naive.count(base_clip, "zero_i2v", text="frozen", middle=96) == 7_119_360 + 10_752
    assert naive.count(base_clip, "zero_i2v", text="frozen", last_blocks=3) == 12 * adapter + positions + norm


def test_folded_a_video_costs_two_of_its_heads_once_more_and_nothing_else():
    clip, frames = naive.attach("zero_i2v", **TINY, text="frozen"), 4
    plain = measure.macs(small_clip(), num_frames=frames, num_words=12, device=torch.device("cpu"))
    clip.merge()
    found = measure.macs(clip, num_frames=frames, num_words=12, device=torch.device("cpu"))
    tokens, width, channels = 5, 32, 2 * 16
    heads = tokens * width * 3 * channels + 2 * 2 * tokens * tokens * channels + tokens * channels * width
    assert found["macs_per_video"] == plain["macs_per_video"] + frames * 3 * heads
    assert found["macs_per_caption"] == plain["macs_per_caption"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"heads": 0}, "heads is 0, so that no frame would see another and a change of weights is left; use lora for that"),
        ({"heads": 3}, "heads is 3; the vision tower of small has 2 heads; give 1 to 2"),
        ({"text": "deep"}, "text is 'deep'; choose one of"),
    ],
)
def test_wrong_settings_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.attach(small_clip(), methods.load("zero_i2v", config=config), shape=SHAPE)


def test_an_attention_into_which_the_adapters_do_not_fold_is_refused():
    clip = FrozenClip(open_clip.CLIP(**SMALL), name="normed")
    clip.vision.blocks[0].attn.ln_inner = torch.nn.LayerNorm(32)
    with pytest.raises(ValueError, match="the attention of normed has a norm inside or no bias"):
        methods.attach(clip, methods.load("zero_i2v", config={}), shape=SHAPE)
