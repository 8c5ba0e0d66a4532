"""SHERL by hand and against a naive rewrite; no gradient and no activation of the towers; taps and stores; counts and refusals."""

import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.clip.tower import Flow
from pipeline.cost import measure
from pipeline.cost.table import by_tower
from pipeline.inputs import frozen
from pipeline.methods.sherl import EndOfText, Sherl, Side
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

CPU = torch.device("cpu")


def attach(clip=None, **config):
    return methods.attach(clip or small_clip(), methods.load("sherl", config={"width": 8} | config), shape=SHAPE)


class Pair:
    """A tower of width 2 whose levels 0 and 1 are read."""

    width, taps = 2, [0, 1]


@torch.no_grad()
def test_two_layers_of_two_tokens_by_hand():
    side = Side(Sherl(width=2), Pair(), EndOfText(whole=False), embed_dim=2)
    for linear in (*side.down, side.feature, side.up):
        linear.weight.copy_(torch.eye(2))
    for linear in (*side.tokens, side.layers):
        linear.weight.copy_(torch.ones(1, 2))
    side.up.bias.copy_(torch.tensor([0.5, 0.0]))
    side.gates.copy_(torch.tensor([0.0, -1e3]))  # a half, and none
    # G = (1, 0). H_0 = (1, 0), (3, 4): a = 1/4, 3/4, and read is the second: S_0 = (2.5, 3) + (1.5, 2) = (4, 5).
    # H_1 = (0, 1), (2, 0): a = 0, 1 and S_1 = (2, 0). The third token is behind the end of text.
    tapped = [torch.tensor([[[1.0, -9.0], [3.0, 4.0], [7.0, 7.0]]]), torch.tensor([[[0.0, 1.0], [2.0, -1.0], [7.0, 7.0]]])]
    found = side(torch.tensor([[1.0, -2.0]]), tapped, Flow(num_frames=1, read=torch.tensor([1])))
    cosine = 4 / 41**0.5
    first, second = 4 / (1 + cosine), 2 / (1 + cosine)  # v . (S o G), divided by what is said twice
    share = first / (first + second)
    wanted = torch.tensor([[share * 4 + (1 - share) * 2 + 1, share * 5]]) + torch.tensor([[0.5, 0.0]]) + torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


def row(side, feature, layers, read, real):
    """The formulas of one row, layer by layer and token by token."""
    g = side.feature(feature.relu())
    made = []
    for k, tokens in enumerate(layers):
        h = [side.down[k](token.relu()) for token in tokens[:real]]
        a = torch.stack([side.tokens[k](g * one)[0].relu() for one in h])
        a = a / (a.sum() + 1e-6)
        gate = 1.0 if side.gates is None else torch.sigmoid(side.gates[k] / 0.1)
        made.append(sum(share * one for share, one in zip(a, h, strict=True)) + gate * h[read])
    r = torch.stack([sum(F.cosine_similarity(one, other, dim=0).relu() for other in made) for one in made])
    b = torch.stack([side.layers(one * g)[0].relu() for one in made]) / r
    b = b / (b.sum() + 1e-6)
    return side.up((sum(share * one for share, one in zip(b, made, strict=True)) + g).relu()) + feature


@pytest.mark.parametrize("config", [{}, {"gates": False, "taps": [3, 1]}])
@torch.no_grad()
def test_both_towers_equal_a_naive_rewrite(config, batch):
    clip, taps = naive.attach("sherl", width=8, **config), sorted(config.get("taps", range(4)))

    def frames(pixels):
        x = clip.model.visual.ln_pre(naive.embed(clip, pixels))
        levels = [x]
        for block in clip.vision.blocks:
            levels.append(block(levels[-1]))
        read = naive.read(clip, levels[-1])
        return torch.stack([row(clip.adapter["vision"], read[t], [levels[k][t] for k in taps], 0, x.shape[1]) for t in range(len(x))])

    naive.videos(clip, batch, frames)
    model = clip.model
    for ids in clip.tokenize(batch[2], num_words=SHAPE.num_words):
        end = int(ids.argmax())
        levels = [(model.token_embedding(ids) + model.positional_embedding[: len(ids)])[None]]
        for block in clip.text.blocks:
            levels.append(block(levels[-1], attn_mask=naive.causal(len(ids))))
        feature = model.ln_final(levels[-1][0, end]) @ model.text_projection
        wanted = row(clip.adapter["text"], feature, [levels[k][0] for k in taps], end, end + 1)
        torch.testing.assert_close(clip.encode_text(ids[None])[0], wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_activation_of_a_tower_is_kept_and_no_tensor_of_clip_gets_a_gradient(checkpointing, batch):
    clip, within, kept = attach(), [], {True: 0, False: 0}
    clip.checkpointing(checkpointing)
    for side in clip.adapter.values():
        side.register_forward_pre_hook(lambda *_: within.append(True))
        side.register_forward_hook(lambda *_: within.pop() and None)

    def keep(tensor):
        kept[bool(within)] += 1
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        frames, texts = clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=SHAPE.num_words))
    assert kept[True] > 50 and kept[False] == 0
    (frames.sum() + texts.sum()).backward()
    assert all(p.grad is None for p in clip.model.parameters())
    assert all(side.up.weight.grad.abs().sum() > 0 for side in clip.adapter.values())


@torch.no_grad()
def test_zero_start_is_clip_bit_for_bit_and_the_release_is_not(batch):
    ids = small_clip().tokenize(batch[2], num_words=SHAPE.num_words)
    ours, bare = attach(zero_start=True), small_clip()
    assert torch.equal(ours.encode_frames(batch[0], mask=batch[1]), bare.encode_frames(batch[0], mask=batch[1]))
    assert torch.equal(ours.encode_text(ids), bare.encode_text(ids))
    assert not torch.equal(attach().encode_text(ids), bare.encode_text(ids))


@torch.no_grad()
def test_from_frames_and_from_the_tokens_of_the_lowest_tap_the_features_are_the_same(batch):
    clip, bare = naive.attach("sherl", width=8, taps=[1, 3]), small_clip()
    assert {name: reach.level for name, reach in frozen.reaches(clip).items()} == {"vision": 1, "text": 1}
    ids = clip.tokenize(batch[2], num_words=SHAPE.num_words)
    seen, said = bare.frames_at(1, batch[0], mask=batch[1]), bare.text_at(1, ids)
    assert torch.equal(clip.encode_frames(seen, mask=batch[1], start=1), clip.encode_frames(batch[0], mask=batch[1]))
    assert torch.equal(clip.encode_text(ids, said, start=1), clip.encode_text(ids))


@pytest.mark.parametrize(("taps", "level"), [([], 0), ([0, 2], 0), ([2], 2), ([3], 2)])
def test_what_may_be_stored_is_all_tokens_of_the_lowest_level_that_is_read(taps, level):
    """The highest level with all tokens is below the top, where one token a frame is left."""
    reach = frozen.reaches(attach(taps=taps))["vision"]
    assert reach.level == level and reach.reason == f"all tokens after {level} blocks of the vision tower are read by adapter.vision (Side)"


def test_vit_b32_has_9_598_006_trainable_parameters(base_clip):
    assert naive.count(base_clip, "sherl") == 9_598_006
    assert naive.count(base_clip, "sherl", part="adapter.vision.") == 5_650_971
    assert naive.count(base_clip, "sherl", gates=False) == 9_597_980
    assert naive.count(base_clip, "sherl", width=256) == 4_799_542
    assert naive.count(base_clip, "sherl", width=128) == 2_400_310
    taps = 9 * (768 + 512 + 2) * 512 + 2 * 9 * (512 + 1) + 2 * 9  # of nine levels that are not read
    assert naive.count(base_clip, "sherl", taps=[0, 4, 8, 12]) == 9_598_006 - taps


def test_a_frame_costs_the_side_module_beside_the_tower():
    found, plain = (measure.macs(clip, num_frames=4, num_words=12, device=CPU) for clip in (attach(), small_clip()))
    layers, h, e = 4, 8, 16

    def side(tokens, width):
        each = tokens * width * h + tokens * h + tokens * h  # down, scores, their sum
        return layers * each + 2 * h * e + layers * (h + h) + layers * layers * h

    assert found["macs_per_video"] - plain["macs_per_video"] == 4 * side(5, 32)
    assert found["macs_per_caption"] - plain["macs_per_caption"] == side(12, 16)


def test_each_tower_has_its_own_and_a_pool_is_anchored_at_its_patches():
    clip = attach()
    assert by_tower(clip.trained())["shared"] == 0
    assert attach(small_clip(family="siglip")).adapter["vision"].read.kind == "patches"
    assert attach(small_clip(family="pe"), anchor="cls").adapter["vision"].read.kind == "cls"


@pytest.mark.parametrize("taps", [[4], [-1, 2], [1, 1]])
def test_levels_that_a_tower_has_not_are_refused(taps):
    with pytest.raises(ValueError, match=r"sherl: taps are .*; the vision tower has levels 0 to 3; name some of them once each"):
        attach(taps=taps)
