"""PiSSA: its start is the principal part of each weight, its change that of the formula; what is stored beside it; counts; refusals."""

import pytest
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, build
from pipeline.cost import table
from pipeline.methods.pissa import Principal, principal
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

HEADER = {"run": "pissa", "config": {}, "shape": {}, "train": {}, "dataset": "toy", "seed": 0}


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (24, 24)])
def test_the_start_is_the_principal_part_shared_evenly_between_both_factors(shape):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    down, up = principal(weight, 5)
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(up @ down, u[:, :5] * s[:5] @ vh[:5], atol=1e-3, rtol=1e-3)  # singular values that are close mix
    for gram in (down @ down.T, up.T @ up):
        torch.testing.assert_close(gram, s[:5].diag(), atol=1e-4, rtol=1e-4)


def test_a_weight_of_lower_rank_has_zeros_and_no_numbers_that_are_none():
    down, up = principal(torch.outer(torch.arange(4.0), torch.ones(3)), 2)
    assert down.isfinite().all() and up.isfinite().all()
    torch.testing.assert_close(up @ down, torch.outer(torch.arange(4.0), torch.ones(3)))
    assert not any(part.isnan().any() for part in principal(torch.zeros(4, 3), 2))


def test_change_and_gradients_are_those_of_a_and_b_themselves():
    """W + B A - B0 A0, with A and B as tensors of their own; the chosen rows only."""
    torch.manual_seed(0)
    weight, toward, chosen = torch.randn(30, 8), torch.randn(30, 8), [True, False, True]
    change = Principal(weight, chosen, rank=3)
    assert torch.equal(change(weight), weight)
    with torch.no_grad():
        for parameter in change.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    (change(weight) * toward).sum().backward()
    rows = [*range(10), *range(20, 30)]
    down, up = principal(weight[rows], 3)
    a, b = ((first + moved.detach()).requires_grad_(True) for first, moved in ((down, change.down), (up, change.up)))
    expected = weight.clone()
    expected[rows] += b @ a - up @ down
    torch.testing.assert_close(change(weight), expected, atol=1e-5, rtol=1e-5)
    (expected * toward).sum().backward()
    torch.testing.assert_close(change.down.grad, a.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(change.up.grad, b.grad, atol=1e-5, rtol=1e-5)


def outputs(clip, batch):
    with torch.no_grad():
        return clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=12))


def test_the_file_has_the_start_too_so_that_another_lapack_changes_nothing(tmp_path, batch, monkeypatch):
    clip = naive.attach("pissa", rank=3)
    assert len(clip.stored()) == 2 * len(clip.trained()) and not any(values.requires_grad for values in clip.adapter.buffers())
    checkpoint.save(tmp_path / "a", clip.stored(), header=HEADER | checkpoint.described(clip))
    # Signs of singular vectors are free; nothing asks for the ones that the training had.
    monkeypatch.setattr("pipeline.methods.pissa.principal", lambda weight, rank: tuple(-part for part in principal(weight, rank)))
    other = methods.attach(small_clip(), methods.load("pissa", config={"rank": 3}), shape=SHAPE)
    before = outputs(other, batch)
    checkpoint.load_into(other, tmp_path / "a")
    for ours, theirs, start in zip(outputs(other, batch), outputs(clip, batch), before, strict=True):
        assert torch.equal(ours, theirs) and not torch.equal(ours, start)


def test_an_adapter_without_the_start_is_refused(tmp_path):
    clip = naive.attach("pissa", rank=3)
    checkpoint.save(tmp_path / "a", clip.trained(), header=HEADER | checkpoint.described(clip))
    with pytest.raises(ValueError, match=r"a lacks 'adapter.text.0.qkv.first_down' \(12 such\)"):
        checkpoint.load_into(clip, tmp_path / "a")


def test_vit_b32_has_491_520_trainable_parameters_and_as_many_frozen_beside_them_in_its_file():
    with torch.device("meta"):
        clip = FrozenClip(build("ViT-B-32-quickgelu"), name="ViT-B-32-quickgelu")
        assert naive.count(clip, "pissa") == 491_520
        assert naive.count(clip, "pissa", last_blocks=5) == 5 * 491_520 // 12
        methods.attach(clip, methods.load("pissa", config={}), shape=SHAPE)
        found = table.frozen(clip)
    assert (found["kept"], found["generated"]) == (491_520, 0)
    assert 8 * 491_520 < found["checkpoint_bytes"] < 8 * 491_520 + 20_000


def test_more_singular_values_than_a_weight_has_are_refused():
    with pytest.raises(ValueError, match="pissa: rank is 17, but a weight of 48 x 16 has 16 singular values"):
        methods.attach(small_clip(), methods.load("pissa", config={"rank": 17}), shape=SHAPE)
