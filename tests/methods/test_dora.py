"""DoRA by hand, its gradients by the formula of section 4.3, against CLIP with the weights put in; counts; refusals."""

import math

import pytest
import torch

from pipeline import methods
from pipeline.methods.dora import Directed
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

WEIGHT = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # rows of length 5 and 2


def by_hand():
    """Of rank 1, with B A = ((1), (0.5)) (-3, 0): V has the rows (0, 4) and (-1.5, 2), of length 4 and 2.5."""
    change = Directed(WEIGHT, [True], rank=1)
    change.change.down.data = torch.tensor([[-3.0, 0.0]])
    change.change.up.data = torch.tensor([[1.0], [0.5]])
    return change


def test_a_row_gets_its_direction_from_the_low_rank_change_and_its_length_from_its_gain():
    change = by_hand()
    torch.testing.assert_close(change(WEIGHT), torch.tensor([[0.0, 5.0], [-1.2, 1.6]]))
    change.gain.data = torch.tensor([1.0, -0.5])
    torch.testing.assert_close(change(WEIGHT), torch.tensor([[0.0, 10.0], [-0.6, 0.8]]))


def test_gradients_are_those_of_a_length_that_is_a_constant():
    change, toward = by_hand(), torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    (change(WEIGHT) * toward).sum().backward()
    # Of a gain: its row of V, at the length of W, times what comes back.
    torch.testing.assert_close(change.gain.grad, torch.tensor([5 * 10.0, -1.2 * 100 + 1.6 * 1000]))
    # Of V: what comes back times n(W) / n(V), 1.25 and 0.8; were the length no constant, the first row's would be at right angles to V.
    to_changed = torch.tensor([[1.25, 12.5], [80.0, 800.0]])
    torch.testing.assert_close(change.change.up.grad, to_changed @ torch.tensor([[-3.0], [0.0]]))
    torch.testing.assert_close(change.change.down.grad, torch.tensor([[1.0, 0.5]]) @ to_changed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_at_the_start_it_is_the_weight_to_the_bit_and_a_row_of_zeros_stays(dtype):
    torch.manual_seed(0)
    weight = torch.randn(300, 70).to(dtype)
    weight[7] = 0
    change = Directed(weight, [True, False, True], rank=4)
    assert change.gain.shape == (200,) and torch.equal(change(weight).to(dtype), weight)
    change.gain.data += 0.5
    assert torch.equal(change(weight)[100:200].to(dtype), weight[100:200])  # what is not chosen
    assert change(weight).isfinite().all()
    torch.testing.assert_close(change(weight)[250].to(dtype), 1.5 * weight[250])


def outputs(clip, batch):
    return clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=12))


@torch.no_grad()
def test_both_towers_are_those_of_weights_put_in_by_the_formula(batch):
    clip, other = naive.attach("dora", rank=4, targets=["q", "v", "proj"], alpha=8.0, last_blocks=2), small_clip()
    for tower in (other.vision, other.text):
        assert clip.adapter[tower.name].keys() == {"1", "2"}
        for layer, changes in clip.adapter[tower.name].items():
            block = tower.blocks[int(layer)]
            rows = {"qkv": [*range(tower.width), *range(2 * tower.width, 3 * tower.width)], "proj": [*range(tower.width)]}
            for name, weight in (("qkv", block.attn.in_proj_weight), ("proj", block.mlp.c_proj.weight)):
                up, down, gain = changes[name].change.up, changes[name].change.down, changes[name].gain
                for place, row in enumerate(rows[name]):
                    turned = weight[row] + 2.0 * up[place] @ down
                    length = (1 + gain[place]) * math.sqrt(weight[row].square().sum())
                    weight[row] = length * turned / math.sqrt(turned.square().sum())
    for ours, theirs in zip(outputs(clip, batch), outputs(other, batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_vit_b32_has_537_600_trainable_parameters(base_clip):
    assert naive.count(base_clip, "dora") == 491_520 + 3 * (768 + 512) * 12 == 537_600
    rows = 12 * (768 + 3072 + 768 + 512 + 2048 + 512)
    assert (
        naive.count(base_clip, "dora", targets=["out", "fc", "proj"])
        == naive.count(base_clip, "lora", targets=["out", "fc", "proj"]) + rows
    )


@pytest.mark.parametrize(
    ("config", "said"), [({"targets": []}, "dora: a target is '': *; choose one of q, k, v, out"), ({"rank": 0}, "dora: rank is 0; give 1")]
)
def test_no_target_and_no_rank_are_refused(config, said):
    with pytest.raises(ValueError, match=said.replace(": *;", ".*")):
        methods.attach(small_clip(), methods.load("dora", config=config), shape=SHAPE)
