"""Schedules, decay, both optimisers, pooling and loss, by hand."""

import math

import pytest
import torch
from torch import nn

from pipeline import methods
from pipeline.config.schema import Train
from pipeline.evaluation.similarity import pool
from pipeline.training import optim
from pipeline.training.bert_adam import BertAdam, to_half
from pipeline.training.loss import contrastive
from tests.conftest import small_clip


def attached(name, **config):
    return methods.attach(small_clip(), methods.load(name, config=config), shape=methods.Shape(4, 12))


def groups_of(optimiser):
    return {id(p): group for group in optimiser.param_groups for p in group["params"]}


def test_warm_up_is_linear_and_the_cosine_ends_near_zero():
    gains = [optim.factor(step, steps=10, warmup=0.2) for step in range(10)]
    assert gains[:2] == [0.5, 1.0]
    assert gains[2] == 1.0 and gains[6] == pytest.approx(0.5)
    assert gains[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert optim.factor(0, steps=1, warmup=0.0) == 1.0


def test_the_bert_schedule_starts_at_nothing_and_drops_where_the_ramp_meets_the_cosine():
    train = Train(schedule="bert", warmup=0.1)
    gains = [optim.rate(step, steps=1000, train=train) for step in range(1000)]
    assert gains[:3] == [0.0, 0.01, 0.02] and gains[99] == pytest.approx(0.99)
    assert gains[100] == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi))) == pytest.approx(0.976, abs=1e-3)
    assert gains[500] == pytest.approx(0.5) and gains[999] == pytest.approx(0, abs=1e-5)
    # The mean that the specification gives (mv_adapter.md 5).
    assert sum(gains) / 1000 == pytest.approx(0.451, abs=1e-3)
    assert optim.rate(0, steps=10, train=Train(schedule="bert", warmup=0.0)) == 1.0
    assert optim.rate(3, steps=10, train=Train(warmup=0.2)) == optim.factor(3, steps=10, warmup=0.2)


def test_rates_and_decay_by_kind_of_tensor():
    clip = attached("mv_adapter")
    of = groups_of(optim.build(clip.trained(), train=Train(lr=0.1, clip_lr=0.01, weight_decay=0.3)))
    named = clip.trained()
    for plain, expected in {
        "adapter.vision.0.bottleneck.down.weight": (0.1, 0.3),
        "adapter.vision.0.bottleneck.down.bias": (0.1, 0.0),
        "adapter.vision.0.temporal.position": (0.1, 0.0),
        "adapter.vision.0.temporal.cc": (0.1, 0.0),
        "adapter.factors.0": (0.1, 0.0),
        "clip.visual.ln_post.bias": (0.01, 0.0),
    }.items():
        assert (of[id(named[plain])]["lr"], of[id(named[plain])]["weight_decay"]) == expected


def test_embeddings_prompts_and_the_class_token_are_not_decayed():
    decayed = {name for name, p in attached("full_finetune").trained().items() if optim.is_matrix(name, p)}
    assert "clip.visual.conv1.weight" in decayed and "clip.visual.proj" in decayed and "clip.text_projection" in decayed
    assert not [name for name in decayed if "embedding" in name or "ln_" in name or "bias" in name]
    assert not [name for name, p in attached("vop").trained().items() if optim.is_matrix(name, p)]


def test_the_released_decay_spares_attached_biases_and_hits_those_of_clip():
    clip = attached("mv_adapter")
    decayed = {name for name, p in clip.trained().items() if optim.is_decayed(name, p, rule="released")}
    assert {
        "adapter.vision.0.temporal.position",
        "adapter.vision.0.temporal.cc",
        "adapter.factors.0",
        "adapter.text.0.words.norm.weight",
    } <= decayed
    assert {name for name in clip.trained() if name.startswith("clip.")} <= decayed
    assert {name for name in clip.trained() if name not in decayed} == {
        n for n in clip.trained() if n.startswith("adapter.") and "bias" in n
    }


@pytest.mark.parametrize("rule", ["matrices", "all", "released"])
def test_the_logit_scale_never_decays_and_the_rule_all_spares_nothing_else(rule):
    assert not optim.is_decayed("clip.logit_scale", torch.zeros(()), rule=rule)
    named = attached("vop").trained() | attached("mv_adapter").trained()
    assert all(optim.is_decayed(name, p, rule="all") for name, p in named.items())


def by_hand(value, gradients, *, lr, b1, b2, eps, decay):
    """BertAdam on one number in plain Python: its gradient is its own norm, so it is clipped to 1."""
    m = v = 0.0
    trace = []
    for g in gradients:
        g *= min(1, 1 / (abs(g) + 1e-6))
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        value -= lr * (m / (math.sqrt(v) + eps) + decay * value)
        trace.append(value)
    return trace


def test_bert_adam_follows_the_trace_by_hand():
    gradients = [0.5, -2.0, 0.01, 0.0, 1e-7, 3.0, -0.2]
    parameter = nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    optimiser = optim.build({"adapter.x": parameter}, train=Train(optimiser="bert_adam", decay="all", lr=0.1, weight_decay=0.3))
    trace = []
    for g in gradients:
        parameter.grad = torch.tensor([g], dtype=torch.float64)
        optimiser.step()
        trace.append(parameter.item())
    assert trace == pytest.approx(by_hand(0.7, gradients, lr=0.1, b1=0.9, b2=0.98, eps=1e-6, decay=0.3), rel=1e-12)
    # No correction: the first step is (1 - b1) / sqrt(1 - b2), not 1.
    assert trace[0] == pytest.approx(0.7 - 0.1 * (0.1 / math.sqrt(0.02) + 0.3 * 0.7), rel=1e-4)


def test_each_tensor_is_clipped_by_itself():
    large, small = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))
    optimiser = BertAdam([large, small], betas=(0.9, 0.98), eps=1e-6, lr=0.1)
    large.grad, small.grad = torch.full((4,), 5.0), torch.full((4,), 0.25)
    optimiser.step()
    torch.testing.assert_close(optimiser.state[large]["m"], torch.full((4,), 0.1 * 0.5))
    torch.testing.assert_close(optimiser.state[small]["m"], torch.full((4,), 0.1 * 0.25))


def test_the_state_of_bert_adam_goes_through_a_file(tmp_path):
    def make(start):
        parameter = nn.Parameter(start.clone())
        names = frozenset({"adapter.x"})
        return parameter, optim.build({"adapter.x": parameter}, train=Train(optimiser="bert_adam", half=True, lr=0.1), half_names=names)

    def steps(parameter, optimiser, seeds):
        for seed in seeds:
            parameter.grad = torch.randn(6, generator=torch.Generator().manual_seed(seed))
            optimiser.step()

    first, whole = make(torch.ones(6))
    steps(first, whole, range(3))
    torch.save({"optimiser": whole.state_dict(), "value": first.detach()}, tmp_path / "state.pt")
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    assert stored["optimiser"]["state"][0].keys() == {"m", "v"}
    second, resumed = make(stored["value"])
    resumed.load_state_dict(stored["optimiser"])
    steps(first, whole, range(3, 6))
    steps(second, resumed, range(3, 6))
    assert torch.equal(first, second) and not torch.equal(first, torch.ones(6))


def root_mean_square_step(gradient, *, half):
    """Of the 200th step of a 64 x 768 tensor with the start of a linear map, the same gradient everywhere and always.

    After 200 steps m is at the gradient (0.9^200 is nothing) and sqrt(v) within 1 percent of it. The rate is what 5e-6 is in the first
    step after the warm-up of 10 percent, its peak but for one step: 0.976 of it. Decay is 0.2.
    """
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter((torch.rand(64, 768, generator=generator) * 2 - 1) * 768**-0.5)
    train = Train(optimiser="bert_adam", half=half, lr=5e-6, weight_decay=0.2)
    optimiser = optim.build({"adapter.w": parameter}, train=train, half_names=frozenset({"adapter.w"}))
    optim.set_rate(optimiser, optim.bert_factor(100, steps=1000, warmup=0.1))
    for _ in range(200):
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, gradient)
        optimiser.step()
    return (parameter.detach() - before).square().mean().sqrt().item(), optimiser.state[parameter]["v"]


@pytest.mark.parametrize(
    ("gradient", "in_half", "in_float32"),
    [(3e-4, 1.4e-3, 5e-6), (1e-4, 4.8e-4, 5e-6), (1e-5, 4.7e-5, 4.3e-6)],
)
def test_float16_storage_turns_the_optimiser_into_momentum_with_the_steps_of_the_specification(gradient, in_half, in_float32):
    """mv_adapter.md 7.2: the second moment underflows, and the step is 10 to 300 times that of float32."""
    step, second_moment = root_mean_square_step(gradient, half=True)
    assert step == pytest.approx(in_half, rel=0.05) and not second_moment.any()
    step, second_moment = root_mean_square_step(gradient, half=False)
    assert step == pytest.approx(in_float32, rel=0.05) and second_moment.all()


def test_a_second_moment_is_stored_from_a_gradient_of_about_0_0012():
    for gradient, stored in ((1.2e-3, False), (1.25e-3, True)):
        parameter = nn.Parameter(torch.zeros(1))
        optimiser = BertAdam([{"params": [parameter], "half": True}], betas=(0.9, 0.98), eps=1e-6, lr=1.0)
        parameter.grad = torch.tensor([gradient])
        optimiser.step()
        assert bool(optimiser.state[parameter]["v"]) is stored
    assert to_half([torch.tensor(1e-6)])[0].item() == pytest.approx(1.013e-6, rel=1e-3)


def test_half_storage_is_of_what_multiplies_and_of_nothing_else():
    clip = attached("mv_adapter")
    names = optim.half_names(clip)
    stored = {"adapter.vision.0.bottleneck.down.weight", "adapter.vision.0.bottleneck.down.bias", "adapter.text.2.gate.proj.weight"}
    stored |= {f"clip.visual.transformer.resblocks.0.{n}" for n in ("attn.in_proj_weight", "attn.in_proj_bias", "mlp.c_fc.bias")}
    assert stored | {"clip.visual.conv1.weight", "clip.transformer.resblocks.0.attn.out_proj.bias"} <= names
    kept = {
        "adapter.factors.0",
        "adapter.vision.0.temporal.cc",
        "adapter.vision.0.temporal.position",
        "adapter.vision.0.temporal.norm.weight",
    }
    kept |= {"clip.visual.ln_post.bias", "clip.visual.proj", "clip.text_projection", "clip.token_embedding.weight", "clip.logit_scale"}
    assert not kept & names
    of, named = groups_of(optim.build(clip.trained(), train=Train(optimiser="bert_adam", half=True), half_names=names)), clip.trained()
    assert {name for name, p in named.items() if of[id(p)]["half"]} == names & named.keys()
    halved = dict(zip(named, to_half([p.detach() for p in named.values()]), strict=True))
    assert all(torch.equal(p, halved[name]) for name, p in named.items() if name in names)
    assert not torch.equal(named["adapter.vision.0.temporal.cc"], halved["adapter.vision.0.temporal.cc"])


def test_the_tensors_that_stay_in_float32_are_as_many_as_in_the_release(base_clip):
    """mv_adapter.md 7.2: 53 824 attached ones and the 32 768 biases of CLIP's norms, for 12 frames and 32 words."""
    methods.attach(base_clip, methods.load("mv_adapter", config={}), shape=methods.Shape(12, 32))
    names = optim.half_names(base_clip)
    kept = {name: p.numel() for name, p in base_clip.trained().items() if name not in names}
    base_clip.detach_all()
    sums = [sum(n for name, n in kept.items() if name.startswith(root)) for root in ("adapter.", "clip.")]
    assert sums == [53824, 32768]


def test_gradients_are_multiplied_before_they_are_clipped():
    parameter = nn.Parameter(torch.zeros(2))
    for gain, expected in ((1.0, (0.6, 0.8)), (0.125, (0.375, 0.5))):
        parameter.grad = torch.tensor([3.0, 4.0])
        optim.clip_gradients([parameter], 1.0, gain=gain)
        torch.testing.assert_close(parameter.grad, torch.tensor(expected))


def test_pooling_normalises_frames_first_and_ignores_padding():
    frames = torch.tensor([[[3.0, 0.0], [0.0, 5.0], [9.0, 9.0]]])
    expected = torch.tensor([[1.0, 1.0]]) / math.sqrt(2)
    torch.testing.assert_close(pool(frames, mask=torch.tensor([[True, True, False]])), expected)
    with pytest.raises(ValueError, match="no real frame"):
        pool(frames, mask=torch.zeros(1, 3, dtype=torch.bool))


def test_the_loss_is_the_mean_of_both_directions_by_hand():
    texts, videos = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # rows: (2, 2), (0, 0); columns: (2, 0), (2, 0)
    rows = (math.log(2) + math.log(2)) / 2
    columns = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert contrastive(texts @ videos.T, scale=torch.tensor(2.0)).item() == pytest.approx((rows + columns) / 2)
