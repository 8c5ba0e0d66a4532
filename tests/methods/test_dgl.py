"""DGL against dgl_stop.md 10, a naive rewrite with keys and values, counts, what does not matter, and refusals."""

import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from tests.conftest import make_batch, small_clip
from tests.methods import naive, toy
from tests.methods.cases import SHAPE
from tests.methods.test_last_blocks import uneven

NUMBERS = {
    ("dgl", "release"): """
        v0 -0.147702 -1.47152 -0.101209 0.636751 -0.181621 -0.140915 -0.939236 0.819425
        v1 -0.124258 -1.23326 -0.613196 0.568987 -0.758948 -0.190522 -1.64457 0.71468
        t0 1.2174 -1.92806 1.19546 1.24977 -0.0404942 -0.497337 -1.99981 -0.19336
        t1 0.828349 -1.41304 0.912789 1.24663 -0.330954 -0.523145 -0.920469 -1.37938""",
    ("dgl", "fixed"): """
        v0 -0.147702 -1.47152 -0.101209 0.636751 -0.181621 -0.140915 -0.939236 0.819425
        v1 -0.0962279 -1.12043 -0.646913 0.495944 -0.776634 -0.306779 -1.71427 0.62751
        t0 1.35706 -1.50941 0.257833 1.00515 -0.789423 -0.478797 -1.45875 -0.573358
        t1 0.808163 -0.727996 0.0349138 0.775608 -0.526765 -0.41272 -0.728403 -1.33675""",
    ("dgl_transformer", "release"): """
        v0 -0.142121 -1.1555 0.155862 0.606328 -0.331093 -0.116314 -1.03883 0.508949
        v1 -0.146199 -0.945635 -0.242861 0.666505 -0.85721 -0.195176 -1.78025 0.35965
        t0 1.64815 -1.24015 0.478063 1.22776 0.231969 0.140052 -1.88308 0.730591
        t1 0.887355 -1.04081 0.853241 1.0926 -0.390244 -0.64159 -0.805252 -0.892554""",
    ("dgl_transformer", "fixed"): """
        v0 -0.142121 -1.1555 0.155862 0.606328 -0.331093 -0.116314 -1.03883 0.508949
        v1 -0.112975 -0.831654 -0.273875 0.478005 -0.815235 -0.30896 -1.85453 0.2748
        t0 1.20091 -1.10793 1.01704 1.38368 0.0560798 0.0022722 -1.29166 -0.37866
        t1 0.920021 -0.936101 0.975202 0.973477 -0.097118 -0.58682 -1.19228 -1.0587""",
}
SUMS = {
    ("dgl", "release"): (49.9637, 46.7456),
    ("dgl", "fixed"): (50.1087, 45.7470),
    ("dgl_transformer", "release"): (52.4719, 51.2219),
    ("dgl_transformer", "fixed"): (52.5016, 50.8838),
}


@pytest.mark.parametrize(("run", "layout"), NUMBERS)
def test_features_are_those_of_the_specification(run, layout):
    clip = toy.attach(run, text_layout=layout)
    assert sum(p.numel() for p in clip.trained().values()) == {"dgl": 7_264, "dgl_transformer": 69_360}[run]
    toy.compare(clip, NUMBERS[run, layout], SUMS[run, layout], mask=toy.FULL if layout == "release" else toy.PADDED)


def test_a_video_and_a_caption_have_one_feature_whatever_the_context_leaves_of_room():
    """Captions of 16 words with 8 prompts are longer than the context of 16, which counts words alone."""
    clip = toy.attach("dgl")
    found = clip.encode_text(F.pad(toy.IDS, (0, 4)))
    torch.testing.assert_close(found, toy.text(clip), atol=1e-5, rtol=1e-5)
    frames = toy.video(clip, toy.PADDED)
    torch.testing.assert_close(frames, frames[:, :1].expand_as(frames), atol=1e-6, rtol=1e-5)


def naive_video(clip, frames, *, first=0, read="first"):
    """One video with all its tokens written out: frames look at the globals and themselves, the globals at everything."""
    visual, adapter = clip.model.visual, clip.adapter
    x = visual.ln_pre(naive.embed(clip, frames))
    for layer in range(first):
        x = visual.transformer.resblocks[layer](x)
    shared = adapter.vision["globals"]["prompts"]
    for layer, block in list(enumerate(visual.transformer.resblocks))[first:]:
        local = adapter.frames(layer - 3, len(frames)).expand(len(frames), -1, -1)
        x = torch.cat([x[:, :1], local, x[:, 1:]], 1)
        a, g = block.ln_1(x), block.ln_1(shared)

        def look(q, keys, attn=block.attn):
            return attn(q[None], keys[None], keys[None], need_weights=False)[0][0]

        x = x + torch.stack([look(own, torch.cat([g, own])) for own in a])
        shared = shared + look(g, torch.cat([g, a.flatten(0, 1)]))
        x, shared = (part + block.mlp(block.ln_2(part)) for part in (x, shared))
        x = torch.cat([x[:, :1], x[:, 1 + local.shape[1] :]], 1)
    each = shared.expand(len(frames), -1, -1)
    cls = x[:, :1]
    seen = {"first": each[:, :1], "globals": each, "frames": cls, "both": torch.cat([each, cls], 1)}[read]
    return naive.read(clip, seen.mean(1, keepdim=True))


@torch.no_grad()
@pytest.mark.parametrize("read", ["first", "globals", "frames", "both"])
@pytest.mark.parametrize(("run", "last"), [("dgl", None), ("dgl_transformer", 2)])
def test_every_read_out_equals_a_naive_rewrite_of_one_video_at_a_time(run, last, read, batch):
    clip = naive.attach(run, read=read, last_blocks=last)
    naive.videos(clip, batch, lambda frames: naive_video(clip, frames, first=3 - (last or 3), read=read))


@torch.no_grad()
def test_in_a_linear_latent_frames_have_no_order_and_padded_ones_are_as_if_they_were_not(batch):
    clip = naive.attach("dgl")
    frames, mask, _ = batch
    whole = clip.encode_frames(frames, mask=mask)
    turned = clip.encode_frames(frames[:2].flip(1), mask=mask[:2])
    torch.testing.assert_close(turned, whole[:2], atol=1e-5, rtol=1e-5)
    short = clip.encode_frames(frames[2:, :2], mask=mask[2:, :2])
    torch.testing.assert_close(short, whole[2:, :2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_prompts_behind_the_text_are_seen_only_in_the_fixed_layout():
    for layout, seen in (("release", False), ("fixed", True)):
        clip = naive.attach("dgl", text_layout=layout)
        ids = clip.tokenize(make_batch(long=True)[2], num_words=SHAPE.num_words)  # one fills its row
        before = clip.encode_text(ids)
        for parameter in clip.adapter.text["postfix"].parameters():
            parameter.normal_()
        assert torch.equal(clip.encode_text(ids), before) != seen


@torch.no_grad()
@pytest.mark.parametrize("family", ["siglip", "pe"])
def test_a_pool_reads_the_first_global_prompt_and_rotary_keys_are_those_that_are_written_out(family, batch):
    clip = naive.attach("dgl", small_clip(family=family), shake=0.5)
    seen, flows = [], []
    clip.vision.hooks[1].attention.append(lambda branch, site: seen.append((site.normed, branch)) or flows.append(site.flow) or branch)
    clip.vision.hooks[2].after.append(lambda tokens, _: seen.append(tokens) or tokens)
    found = clip.encode_frames(batch[0], mask=batch[1])
    assert seen[1].shape[1] == 1 and not torch.allclose(found[0, 0], found[1, 0])
    torch.testing.assert_close(found, found[:, :1].expand_as(found), atol=1e-5, rtol=1e-4)
    (normed, branch), block = seen[0], clip.vision.blocks[1]
    width, heads = normed.shape[-1], block.attn.num_heads
    q, k, v = (
        part.unflatten(-1, (heads, -1)) for part in F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
    )
    if flows[0].rotary is not None:
        k = torch.stack([_turned(row, flows[0].rotary) for row in k])
    for video, real in enumerate(batch[1].sum(1).tolist()):
        rows = range(4 * video, 4 * video + real)
        keys, values = (torch.cat([part[rows[0], :4], *(part[row, 4:] for row in rows)]) for part in (k, v))
        scores = torch.einsum("ghd,khd->hgk", q[rows[0], :4], keys) / (width // heads) ** 0.5
        mixed = torch.einsum("hgk,khd->ghd", scores.softmax(-1), values).flatten(1)
        torch.testing.assert_close(branch[rows[-1], :4], block.attn.out_proj(mixed), atol=1e-5, rtol=1e-4)


def _turned(keys, rotary):
    """Keys (L, heads, d), the last of which have places."""
    sin, cos = rotary.chunk(2, -1)
    grid, number = keys[-len(rotary) :], len(keys) - len(rotary)
    even, odd = grid[..., ::2], grid[..., 1::2]
    sin, cos = sin[:, None, ::2], cos[:, None, ::2]
    return torch.cat([keys[:number], torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)])


def test_counts_are_those_of_the_release(base_clip):
    """Of ViT-B/16 too: tests/cost/test_table.py."""
    clip = base_clip
    parts = {
        "adapter.shared": 36_864,
        "adapter.text.prefix": 393_728,
        "adapter.text.postfix": 393_728,
        "adapter.vision": 3_072,
        "": 827_392,
    }
    assert {part: naive.count(clip, "dgl", part=part) for part in parts} == parts
    parts = {"adapter.shared.prompts": 516_096, "adapter.shared.block": 7_087_872, "adapter.text": 1_968_128, "": 9_575_168}
    assert {part: naive.count(clip, "dgl_transformer", part=part) for part in parts} == parts
    assert naive.count(clip, "dgl_transformer", frames=32) == 10_312_448
    assert naive.count(clip, "dgl_transformer", frames=64) == 11_492_096
    assert naive.count(clip, "dgl", last_blocks=5) == 827_392 - 7 * 4 * 768


def test_starts_are_those_of_the_release(base_clip):
    torch.manual_seed(0)
    for run, bounds in (
        ("dgl", {"vision.globals.prompts": 0.0395, "shared.prompts": 0.0395, "text.prefix.weight": 0.0361, "text.postfix.bias": 0.0361}),
        ("dgl_transformer", {"shared.block.qkv.weight": 0.0442, "shared.block.out.weight": 0.0361, "text.up.bias": 0.0361}),
    ):
        methods.attach(base_clip, methods.load(run, config={}), shape=methods.Shape(12, 32))
        named = dict(base_clip.adapter.named_parameters())
        for name, bound in bounds.items():
            assert float(named[name].detach().abs().max()) == pytest.approx(bound, rel=0.02), name
        base_clip.detach_all()
    assert float(named["shared.prompts"].detach().std()) == pytest.approx(1, rel=0.01)
    assert not named["shared.block.qkv.bias"].any() and not named["shared.block.out.bias"].any()


@torch.no_grad()
def test_towers_of_different_depth_share_the_rows_of_the_latent_from_the_top(batch):
    for depths in ((4, 2), (2, 4)):
        clip = naive.attach("dgl", uneven(*depths))
        clip.adapter.shared.prompts[0] += 1
        before = clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=12))
        clip.adapter.shared.prompts[:2] -= 1
        after = clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=12))
        assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [depth == 2 for depth in depths]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"latent": "mlp"}, "latent is 'mlp'; choose one of linear, transformer"),
        ({"text_layout": "prefix"}, "text_layout is 'prefix'; choose one of fixed, release"),
        ({"read": "cls"}, "read is 'cls'; choose one of first, globals, frames, both"),
        ({"text_prompts": 6}, "text_prompts is 6 and local_prompts 4, but a linear latent .*; set text_prompts to 8, or latent"),
        ({"latent": "transformer", "text_prompts": 7}, "text_prompts 7; give at least one each, text in pairs"),
        ({"global_prompts": 0}, "global_prompts is 0, .* give at least one each"),
    ],
)
def test_settings_that_cannot_be_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        methods.attach(small_clip(), methods.load("dgl", config=config), shape=SHAPE)


def test_no_mean_of_tokens_is_read_where_a_pool_reads_them():
    with pytest.raises(ValueError, match="read is 'globals', a mean of tokens, but attention over all tokens reads this tower; use first"):
        methods.attach(small_clip(family="pe"), methods.load("dgl", config={"read": "globals"}), shape=SHAPE)
