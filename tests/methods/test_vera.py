"""VeRA against CLIP with the weights put in, its frozen matrices by their seed and their hash, counts, and what is refused."""

import math

import pytest
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.cost import table
from pipeline.methods.parts.generated import Generated
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

HEADER = {"run": "vera", "config": {}, "shape": {}, "train": {}, "dataset": "toy", "seed": 0}


def attach(**config):
    return methods.attach(small_clip(), methods.load("vera", config={"rank": 6} | config), shape=SHAPE)


def outputs(clip, batch):
    return clip.encode_frames(batch[0], mask=batch[1]), clip.encode_text(clip.tokenize(batch[2], num_words=12))


@torch.no_grad()
def test_both_towers_are_those_of_weights_put_in_by_the_formula(batch):
    """Row by row, of matrices as large as the largest weight needs, which the others take from the start."""
    clip, other = naive.attach("vera", rank=6, targets=["k", "v", "fc", "proj"], last_blocks=2), small_clip()
    for tower in (other.vision, other.text):
        width, (a, b) = tower.width, clip.adapter["generated"].of(tower.name)
        assert (a.shape, b.shape) == ((6, 4 * width), (4 * width, 6)) and clip.adapter[tower.name].keys() == {"1", "2"}
        for layer, changes in clip.adapter[tower.name].items():
            block = tower.blocks[int(layer)]
            for name, weight, first in (
                ("qkv", block.attn.in_proj_weight, width),
                ("fc", block.mlp.c_fc.weight, 0),
                ("proj", block.mlp.c_proj.weight, 0),
            ):
                inner, outer, columns = changes[name].inner, changes[name].outer, weight.shape[1]
                assert len(inner) == 6 and len(outer) == len(weight) - first
                for row, gain in enumerate(outer):
                    weight[first + row] += gain * (b[row] * inner) @ a[:, :columns]
    for ours, theirs in zip(outputs(clip, batch), outputs(other, batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_matrices_are_uniform_as_kaimings_and_follow_from_the_seed_alone():
    torch.manual_seed(1)
    first = Generated({"vision": (60, 40), "text": (30, 20)}, rank=16, seed=5)
    torch.manual_seed(2)
    again, other = (Generated({"vision": (60, 40), "text": (30, 20)}, rank=16, seed=seed) for seed in (5, 6))
    assert first.sha256() == again.sha256() != other.sha256()
    for (down, up), width in ((first.of("vision"), 40), (first.of("text"), 20)):
        for matrix, inputs in ((down, width), (up, 16)):
            bound = math.sqrt(6 / inputs)
            assert 0.95 * bound < matrix.abs().max() <= bound and abs(matrix.mean()) < 0.1 * bound


def test_it_starts_at_a_tenth_and_the_matrices_are_neither_trained_nor_stored():
    clip = attach()
    assert clip.trained().keys() == clip.stored().keys() and {name.rpartition(".")[2] for name in clip.trained()} == {"inner", "outer"}
    assert all((p == (0.1 if name.endswith("inner") else 0)).all() for name, p in clip.trained().items())
    assert not any(values.requires_grad for values in clip.adapter.buffers())


def test_vit_b32_has_52_224_trainable_parameters_and_162_816_with_out_fc_and_proj(base_clip):
    assert naive.count(base_clip, "vera") == 12 * (256 + 2304) + 12 * (256 + 1536) == 52_224
    assert naive.count(base_clip, "vera", targets=["q", "k", "v", "out", "fc", "proj"]) == 162_816


def test_the_cost_table_has_the_matrices_as_frozen_and_generated_and_counts_the_folded_weight():
    plain, row = (table.measure(small_clip(), methods.load(name, config={}), shape=SHAPE, filled=False) for name in ("zero_shot", "vera"))
    assert (row["generated"], row["kept"]) == (256 * (32 + 96) + 256 * (16 + 48), 0)
    assert row["trainable"] == 3 * (256 + 96) + 3 * (256 + 48) and row["folds"] == "yes"
    assert all(row[key] == plain[key] for key in ("macs_per_video", "macs_per_caption"))
    assert row["checkpoint_bytes"] < 4 * row["trainable"] + 2000
    lines = table.to_text([row | {"method": "vera", "aliases": []}]).splitlines()
    assert "frozen, generated" in lines[0] and f"{row['generated']:,}" in lines[1]


@pytest.fixture
def written(tmp_path):
    clip = attach(seed=7)
    checkpoint.save(tmp_path / "a.safetensors", clip.stored(), header=HEADER | checkpoint.described(clip))
    return tmp_path / "a.safetensors"


def test_a_header_has_the_seed_and_the_hash_and_another_seed_is_refused(written):
    clip = attach(seed=7)
    said = checkpoint.load_into(clip, written)["generated"]
    assert said == {"seed": 7, "sha256": clip.adapter["generated"].sha256()} and len(said["sha256"]) == 64
    with pytest.raises(
        ValueError, match=rf"a.safetensors was trained with matrices of seed 7 \({said['sha256'][:12]}\), and here are .* 8 \("
    ):
        checkpoint.load_into(attach(seed=8), written)


def test_other_numbers_of_the_same_seed_are_refused_as_another_version_of_torch_would_draw_them(written):
    clip = attach(seed=7)
    clip.adapter["generated"].get_buffer("text_up")[3, 2] += 1e-6
    with pytest.raises(ValueError, match="with the version of torch that drew them, or train again$"):
        checkpoint.load_into(clip, written)


@pytest.mark.parametrize("of", [{}, {"seed": 7}, {"seed": [1] * 99, "sha256": 5}])
def test_a_header_without_the_hash_is_refused_too(tmp_path, of):
    clip = attach(seed=7)
    header = HEADER | checkpoint.described(clip) | {"generated": of}
    checkpoint.save(tmp_path / "b.safetensors", clip.stored(), header=header)
    with pytest.raises(ValueError, match="b.safetensors was trained with (no generated matrices|matrices of seed)"):
        checkpoint.load_into(attach(seed=7), tmp_path / "b.safetensors")
    checkpoint.save(tmp_path / "b.safetensors", clip.stored(), header=header | {"generated": "no"})
    with pytest.raises(ValueError, match="b.safetensors: generated is 'no'; it takes keys with values"):
        checkpoint.read_header(tmp_path / "b.safetensors")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(ValueError, match=f"vera: seed is {seed}; give a whole number from 0"):
        methods.attach(small_clip(), methods.load("vera", config={}).__class__(seed=seed), shape=SHAPE)
