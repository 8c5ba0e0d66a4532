"""The tensors that a block keeps for its backward pass, against autograd's for open_clip's own modules: the same numbers, less memory."""

import open_clip
import pytest
import torch
from torch import nn

from pipeline.clip import FrozenClip
from pipeline.clip.attention import attend
from pipeline.clip.kept_once import LayerNorm, QuickGelu, add_and_norm, quick_gelu
from pipeline.clip.tower import Flow
from tests.conftest import SMALL, small_clip


def plain_quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


def with_gradient(function, x, gradient):
    leaf = x.clone().requires_grad_()
    out = function(leaf)
    out.backward(gradient)
    return out.detach(), leaf.grad


def kept(function, x, *, free=()):
    """Bytes of the storages that autograd keeps of a computation, `x` and what is `free` not among them."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = function(x)
    for tensor in (x, *free):
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    assert out.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_quick_gelu_has_the_bits_of_the_formula_forwards_and_backwards(dtype):
    generator = torch.Generator().manual_seed(0)
    x, gradient = (4 * torch.randn(50, 333, generator=generator).to(dtype) for _ in range(2))
    for ours, plain in zip(with_gradient(quick_gelu, x, gradient), with_gradient(plain_quick_gelu, x, gradient), strict=True):
        assert torch.equal(ours, plain)


def test_quick_gelu_keeps_its_input_only():
    x = torch.randn(50, 333, requires_grad=True)
    assert kept(quick_gelu, x) == 0 and kept(plain_quick_gelu, x) == 4 * 50 * 333


def test_quick_gelu_has_the_derivative_that_differences_say():
    torch.autograd.gradcheck(quick_gelu, torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True))


def test_norms_keep_the_type_of_their_input_also_where_autocast_would_widen_it():
    torch.manual_seed(0)
    norm, x = LayerNorm(64), torch.randn(3, 5, 64)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        small = x.bfloat16().requires_grad_()
        made = norm(small)
        assert made.dtype == torch.bfloat16
        # Means and deviations of each row in float32, and no copy of the input.
        assert kept(norm, small) <= 2 * 4 * 15 + 2 * 2 * 64
    exact = torch.nn.functional.layer_norm(small.float(), (64,), norm.weight, norm.bias)
    assert (made.float() - exact).abs().max() < 0.03
    assert torch.equal(norm(x), torch.nn.functional.layer_norm(x, (64,), norm.weight, norm.bias))


def test_freezing_puts_them_in_place_and_leaves_names_and_values():
    torch.manual_seed(1)
    model = open_clip.CLIP(**{**SMALL, "quick_gelu": True})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clip = FrozenClip(model, name="small")
    after = clip.model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], value) for name, value in before.items())
    kinds = {type(module) for module in clip.model.modules()}
    assert QuickGelu in kinds and LayerNorm in kinds
    assert not kinds & {open_clip.transformer.QuickGELU, open_clip.transformer.LayerNorm}


@pytest.mark.parametrize("mask", ["none", "causal", "keys"])
def test_attention_is_that_of_torch_s_module(mask):
    block = small_clip().vision.blocks[0]
    torch.manual_seed(0)
    nn.init.normal_(block.attn.in_proj_bias), nn.init.normal_(block.attn.out_proj.bias)
    x, gradient = torch.randn(2, 3, 7, 32)
    real = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [True] + [False] * 6])
    causal = torch.full((7, 7), float("-inf")).triu(1)
    given = {"none": {}, "causal": {"attn_mask": causal}, "keys": {"key_padding_mask": ~real}}[mask]

    def torchs(x):
        return block.attn(x, x, x, need_weights=False, **given)[0]

    def ours(x):
        return attend(block, x, {"none": None, "causal": causal, "keys": real}[mask])

    for one, other in zip(with_gradient(ours, x, gradient), with_gradient(torchs, x, gradient), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained", ["nothing", "biases"])
def test_a_sum_that_is_made_again_gives_the_bits_of_one_that_is_kept(dtype, trained):
    torch.manual_seed(0)
    projection, norm = nn.Linear(64, 64), LayerNorm(64)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    projection.weight.requires_grad_(False).data = projection.weight.to(dtype)
    tensors = {"projection": projection.bias, "gain": norm.weight, "shift": norm.bias}
    for parameter in tensors.values():
        parameter.requires_grad_(trained == "biases")
    stream, seen, *gradients = (torch.randn(3, 7, 64).to(dtype) for _ in range(4))

    def plain(stream, seen):
        added = stream + nn.functional.linear(seen, projection.weight, projection.bias.to(dtype))
        return added, norm(added)

    found = []
    for run in (plain, lambda stream, seen: add_and_norm(stream, seen, projection, norm)):
        leaves = [part.clone().requires_grad_() for part in (stream, seen)]
        made = run(*leaves)
        torch.autograd.backward(made, gradients)
        found.append([*made, *(leaf.grad for leaf in leaves), *(p.grad for p in tensors.values() if p.requires_grad)])
        projection.bias.grad = norm.weight.grad = norm.bias.grad = None
    assert len(found[0]) == (7 if trained == "biases" else 4)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_frozen_block_keeps_nine_widths_a_token():
    """The stream, queries, keys, values, what attention saw, and four for the MLP; besides them only numbers a token."""
    clip = small_clip()
    tokens, width = torch.randn(6, 5, 32, requires_grad=True), 32
    flow = Flow(num_frames=1, read=torch.zeros(6, dtype=torch.long))
    clip.vision.hooks[0].before.append(lambda tokens, _: 2 * tokens)  # so that the first norm's input is counted, too
    number = kept(lambda tokens: clip.vision.run(tokens, flow=flow, stop=1)[0], tokens, free=clip.parameters())
    # A mean and a deviation for each norm, and for each of two heads the sum that attention divides by.
    assert number / (4 * 30) == 9 * width + 2 * 2 + 2
