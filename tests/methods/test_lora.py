"""LoRA against CLIP with the weights W + B A put in by hand; merged and unmerged outputs; counts."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline import methods
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE

PLACES = {"out": "attn.out_proj.weight", "fc": "mlp.c_fc.weight", "proj": "mlp.c_proj.weight"}


def by_hand(clip, *, targets, scale, shared=True):
    """Another small CLIP whose weights are changed row by row."""
    other = small_clip()
    for tower in (other.vision, other.text):
        for layer, changes in clip.adapter[tower.name].items():
            block, fused = tower.blocks[int(layer)], [name for name in "qkv" if name in targets]
            for place, name in enumerate(fused):
                width = tower.width
                start = "qkv".index(name) * width
                down = changes["qkv"].down if shared else changes["qkv"].down.chunk(len(fused))[place]
                block.attn.in_proj_weight[start : start + width] += scale * changes["qkv"].up[place * width : (place + 1) * width] @ down
            for name, key in PLACES.items():
                if name in targets:
                    block.get_parameter(key).add_(scale * changes[name].up @ changes[name].down)
    return other


def outputs(clip, batch):
    frames, mask, captions = batch
    return clip.encode_frames(frames, mask=mask), clip.encode_text(clip.tokenize(captions, num_words=12))


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 1.0),
        ({"targets": ["q", "v"]}, 1.0),
        ({"targets": ["k", "out", "fc", "proj"], "rank": 4, "alpha": 8.0}, 2.0),
        ({"targets": ["q", "fc"], "last_blocks": 2}, 1.0),
        ({"shared": False}, 1.0),
        ({"shared": False, "targets": ["q", "v", "proj"], "rank": 4, "alpha": 8.0, "rslora": True}, 4.0),
    ],
)
def test_outputs_equal_those_of_changed_weights_and_of_merged_ones(batch, config, scale):
    clip = naive.attach("lora", **config)
    before = outputs(clip, batch)
    assert {len(clip.adapter[tower]) for tower in ("vision", "text")} == {config.get("last_blocks", 3)}
    expected = outputs(by_hand(clip, targets=config.get("targets", ["q", "k", "v"]), scale=scale, shared=config.get("shared", True)), batch)
    clip.merge()
    assert not any(hooks.weights for tower in (clip.vision, clip.text) for hooks in tower.hooks)
    for ours, other, merged in zip(before, expected, outputs(clip, batch), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours, merged, atol=1e-5, rtol=1e-5)
    clip.detach_all()
    for ours, plain in zip(outputs(clip, batch), outputs(small_clip(), batch), strict=True):
        torch.testing.assert_close(ours, plain, atol=0, rtol=0)


def test_vit_b32_has_491_520_trainable_parameters_for_qkv_and_the_closed_form_elsewhere(base_clip):
    assert naive.count(base_clip, "lora") == 491_520
    sizes = [(768, 768), (768, 3072), (512, 512), (512, 2048)]
    assert naive.count(base_clip, "lora", targets=["out", "fc", "proj"]) == 12 * 8 * sum((a + b) * (1 if a == b else 2) for a, b in sizes)


def test_with_an_a_for_each_of_q_k_and_v_there_are_92_160_a_rank(base_clip):
    assert naive.count(base_clip, "lora", shared=False) == 8 * 92_160 == 737_280
    assert naive.count(base_clip, "lora", shared=False, rank=2) == 184_320
    assert naive.count(base_clip, "lora", shared=False, targets=["q", "v", "out"]) == 8 * 92_160
    assert naive.count(base_clip, "lora", shared=False, targets=["k"]) == naive.count(base_clip, "lora", targets=["k"])


def test_rslora_without_an_alpha_and_no_rank_are_refused():
    for config, said in (({"rslora": True}, "there is no alpha; set alpha, or leave rslora out"), ({"rank": 0}, "lora: rank is 0; give 1")):
        with pytest.raises(ValueError, match=said):
            methods.attach(small_clip(), methods.load("lora", config=config), shape=SHAPE)


def test_an_unknown_target_and_none_are_refused():
    for targets in (["qkv"], []):
        with pytest.raises(ValueError, match="choose one of q, k, v, out, fc, proj"):
            methods.attach(small_clip(), methods.load("lora", config={"targets": targets}), shape=SHAPE)


def test_a_step_makes_no_gradient_of_a_frozen_weight(batch):
    """Dense products with a gradient on the left and an input on the right would be half as much work again."""
    clip = naive.attach("lora", targets=["q", "v", "out", "fc", "proj"])
    frozen = {tuple(block.get_parameter(name).shape) for block in clip.vision.blocks for name in ("attn.in_proj_weight", *PLACES.values())}

    class Made(TorchDispatchMode):
        shapes = Counter()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func._overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
                self.shapes[tuple(out.shape)] += 1
            return out

    with Made() as made:
        sum(part.square().sum() for part in outputs(clip, batch)).backward()
    assert made.shapes and not frozen & made.shapes.keys()
    assert all(parameter.grad is not None for parameter in clip.trained().values())
