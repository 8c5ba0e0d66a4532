"""MV-Adapter against the numbers of mv_adapter.md 9 (made with the reference modules), its counts, and its identities."""

import math
from types import SimpleNamespace as Namespace

import pytest
import torch

from pipeline import methods
from pipeline.clip import build as architecture
from pipeline.clip.tower import Tower
from pipeline.methods.mv_adapter import Gate, TextAdapter, VideoAdapter
from tests.conftest import small_clip
from tests.methods import naive

D, M, B, T, P, L, DIM = 8, 4, 2, 3, 4, 5, 3
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)
MIXER = ("ln_1.weight", "ln_1.bias", "qkv.weight", "qkv.bias", "out.weight", "out.bias", "ln_2.weight", "ln_2.bias")
MIXER += ("fc.weight", "fc.bias", "proj.weight", "proj.bias")
COMMON = tuple(f"bottleneck.{n}" for n in ("down.weight", "down.bias", "up.weight", "up.bias"))
VIDEO = COMMON + tuple(f"temporal.{n}" for n in ("position", "cc", "norm.weight", "norm.bias", *(f"mixer.{n}" for n in MIXER)))
VIDEO += tuple(f"temporal.calibration.cls.{n}" for n in ("cc.weight", "cc.bias", "fc1.weight", "fc1.bias", "fc2.weight"))
TEXT = COMMON + tuple(f"words.{n}" for n in ("position", "norm.weight", "norm.bias", *(f"mixer.{n}" for n in MIXER)))
GAINS = ("norm.weight", "ln_1.weight", "ln_2.weight", "norm_input.weight")

# case: (sum, sum of absolute values) of the video and of the text output, and some rows of them
CASES = {
    "none": {
        "sums": (-14.46328, 53.25275, -5.00085, 19.42633),
        "cls00": (0.17532, -1.10749, -0.40873, 0.96842, 0.49583, -0.97862, -0.77145, 0.75580),
        "cls11": (-0.04140, -0.91347, -0.15683, 0.82009, 0.21703, -0.88085, -0.47493, 0.71180),
        "cls12": (0.10924, -0.67833, -0.26483, 0.56536, 0.27883, -0.61491, -0.48851, 0.44341),
        "patch": (0.11082, -0.31004, -0.19962, 0.20890, 0.14898, -0.28199, -0.29828, 0.14498),
        "text00": (0.13966, -0.36242, -0.23795, 0.25433, 0.19556, -0.31898, -0.35156, 0.17230),
        "text14": (0.14617, -0.36228, -0.24444, 0.25301, 0.20180, -0.31653, -0.35737, 0.16880),
    },
    "down_in": {
        "sums": (-13.38112, 42.40887, -4.96272, 19.04391),
        "cls00": (0.19779, -1.10572, -0.43088, 0.96264, 0.51693, -0.96901, -0.79081, 0.74268),
        "cls11": (-0.02384, -0.94144, -0.17946, 0.84395, 0.24399, -0.89982, -0.50532, 0.72526),
        "patch": (0.07432, -0.16166, -0.13621, 0.07201, 0.06075, -0.16111, -0.18813, 0.04407),
        "text00": (0.09974, -0.34223, -0.19438, 0.24204, 0.14976, -0.31500, -0.30504, 0.17676),
        "text14": (0.10310, -0.33998, -0.19733, 0.23926, 0.15220, -0.31177, -0.30689, 0.17320),
    },
    "down_out": {
        "sums": (-13.50841, 43.53799, -4.98253, 19.24261),
        "cls00": (0.18382, -1.13007, -0.42132, 0.98872, 0.51210, -0.99597, -0.79088, 0.76963),
        "cls11": (0.00739, -0.92964, -0.20855, 0.82688, 0.26998, -0.87803, -0.52736, 0.69948),
        "patch": (0.07551, -0.17518, -0.13986, 0.08487, 0.06673, -0.17289, -0.19624, 0.05438),
        "text00": (0.12100, -0.34108, -0.21542, 0.23707, 0.16990, -0.30638, -0.32362, 0.16477),
        "text14": (0.13606, -0.33783, -0.22990, 0.23120, 0.18330, -0.29807, -0.33552, 0.15431),
    },
    "up_in": {
        "sums": (-13.34312, 41.80240, -1.94528, 11.22223),
        "cls00": (0.10989, -0.58233, -0.24806, 0.47240, 0.24521, -0.52805, -0.43913, 0.36549),
        "patch": (0.11082, -0.31004, -0.19962, 0.20890, 0.14898, -0.28199, -0.29828, 0.14498),
        "text14": (0.00000, 0.20533, 0.00465, -0.26942, -0.14203, 0.14355, 0.06990, -0.21380),
    },
    "up_out": {
        "sums": (-14.83407, 38.43428, -1.37316, 12.20090),
        "cls00": (0.10699, -0.65976, -0.22268, 0.38127, 0.14427, -0.27657, -0.03754, -0.29149),
        "patch": (0.11082, -0.31004, -0.19962, 0.20890, 0.14898, -0.28199, -0.29828, 0.14498),
        "text14": (0.05012, 0.24492, 0.21341, -0.26928, -0.04083, -0.10743, 0.09432, -0.25077),
    },
    "down_in+norm": {
        "sums": (-12.77328, 36.58100, -5.01991, 19.61745),
        "cls00": (-0.03528, -1.08355, -0.19379, 0.98346, 0.28361, -1.03215, -0.56895, 0.84605),
        "patch": (0.01112, -0.11495, -0.06454, 0.03830, -0.01703, -0.14151, -0.10679, 0.03922),
        "text14": (0.14940, -0.34731, -0.24496, 0.23794, 0.19959, -0.30186, -0.35249, 0.15502),
    },
}


def wave(shape, ordinal, *, base=0.0, amplitude=0.6):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (base + amplitude * torch.sin(0.37 * steps + 0.7 * ordinal + 1.0)).float().view(shape)


def build(kind, names, length, case):
    position, _, norm = case.partition("+")
    gate = Gate(position, DIM, D, M) if position != "none" else None
    adapter = kind(D, length=length, middle=M, heads=2, gate=gate, norm_input=bool(norm))
    factor = wave((DIM,), len(names)) if gate else None
    # The factor has an ordinal of its own between the adapter and its projection: a placeholder keeps the count.
    tensors = dict(adapter.named_parameters())
    order = [*names, *(["factor", "gate.proj.weight", "gate.proj.bias"] if gate else [])]
    order += ["norm_input.weight", "norm_input.bias"] if norm else []
    with torch.no_grad():
        for ordinal, name in enumerate(order):
            if name == "factor":
                continue
            gain = name.endswith(GAINS)
            tensors[name].copy_(wave(tensors[name].shape, ordinal, base=float(gain), amplitude=0.1 if gain else 0.6))
    return adapter, factor


def inputs(*shape):
    return torch.sin(0.11 * torch.arange(math.prod(shape), dtype=torch.float64) + 0.5).float().view(shape)


@pytest.mark.parametrize("case", CASES)
def test_adapters_reproduce_the_reference_numbers(case):
    expected = CASES[case]
    video, factor = build(VideoAdapter, VIDEO, T, case)
    with torch.no_grad():
        out = 0.1 * video(inputs(B, T, 1 + P, D), mask=MASK, factor=factor)
        text, factor = build(TextAdapter, TEXT, L, case)
        said = 0.1 * text(inputs(B, L, D), factor=factor)
    rows = {"cls00": out[0, 0, 0], "cls11": out[1, 1, 0], "cls12": out[1, 2, 0], "patch": out[1, 2, P]}
    rows |= {"text00": said[0, 0], "text14": said[1, 4]}
    for name, row in rows.items():
        if name in expected:
            torch.testing.assert_close(row, torch.tensor(expected[name]), atol=2e-5, rtol=0)
    sums = torch.stack([out.sum(), out.abs().sum(), said.sum(), said.abs().sum()])
    torch.testing.assert_close(sums, torch.tensor(expected["sums"]), atol=2e-5, rtol=0)


# position, tied layers, frames, words, lnin -> trainable parameters with CLIP's 171,008 biases (mv_adapter.md 4)
COUNTS = [
    ("down_in", 2, 12, 32, False, 3_572_736),
    ("down_out", 2, 12, 32, False, 3_496_704),
    ("down_in", 3, 12, 32, False, 3_615_008),
    ("down_out", 2, 32, 64, False, 3_552_000),
    ("down_in", 2, 32, 64, False, 3_628_032),
    ("down_in", 1, 32, 64, True, 3_616_480),
    ("down_in", 1, 32, 64, False, 3_585_760),
    ("none", 2, 12, 32, False, 3_488_192),
    ("down_in", 1, 12, 32, False, 3_359_456 + 171_008),
    ("down_in", 6, 12, 32, False, 3_570_816 + 171_008),
    ("down_in", 12, 12, 32, False, 3_824_448 + 171_008),
]


@pytest.mark.parametrize(("position", "layers", "frames", "words", "norm", "expected"), COUNTS)
def test_vit_b32_has_the_published_number_of_trainable_parameters(base_clip, position, layers, frames, words, norm, expected):
    config = {"cmt_position": position, "cmt_layers": layers, "norm_input": norm}
    assert naive.count(base_clip, "mv_adapter", frames=frames, words=words, **config) == expected


# One line of params.yaml for a row of tables 6, 9 and 10 -> what it has without CLIP's biases, by the sizes of mv_adapter.md 1.2 and 2.
DOWN_UP = {"video": 49_216 + 49_920, "text": 64 * 512 + 64 + 512 * 64 + 512}
TEXT_BLOCK, VIDEO_BLOCK, POSITIONS, CALIBRATION = 49_984 + 128 + 32 * 64, 49_984 + 128, 25 * 64 + 64, 7_248
ROWS = {
    "down and up": ({"temporal": "none", "text_transformer": False}, 12 * sum(DOWN_UP.values())),
    "+ transformer": ({"temporal": "transformer"}, 3_317_184 - 12 * CALIBRATION),
    "+ calibration": ({}, 3_317_184),
    "text only": ({"video": False}, 12 * 118_272),
    "visual only": ({"text": False}, 12 * 158_160),
    "without temporal adaptation": ({"temporal": "none"}, 12 * (DOWN_UP["video"] + 118_272)),
    "calibrated patches": ({"calibrate": "both"}, 3_317_184 + 12 * CALIBRATION),
    "without CC": ({"cc": False}, 3_317_184 - 12 * (2 * 64 + 64 * 65 + 16 * 64)),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_ablations_is_one_line_with_its_own_number_of_parameters(base_clip, row):
    config, expected = ROWS[row]
    assert naive.count(base_clip, "mv_adapter", cmt_position="none", part="adapter.", **config) == expected


def test_biases_are_trained_in_the_adapted_towers_only(base_clip):
    counts = [naive.count(base_clip, "mv_adapter", part="clip.", **config) for config in ({}, {"video": False}, {"text": False})]
    assert counts == [171_008, 68_096, 102_912]
    assert naive.count(base_clip, "mv_adapter", part="clip.", clip_biases=False) == 0


def test_towers_of_different_depth_are_tied_from_the_top_and_m_may_be_128():
    """ViT-L/14 has 24 vision and 12 text blocks; the paper uses M = 128 there."""
    with torch.device("meta"):
        model = architecture("ViT-L-14-quickgelu")
    towers = Namespace(
        name="ViT-L-14-quickgelu",
        vision=Tower("vision", transformer=model.visual.transformer, width=1024),
        text=Tower("text", transformer=model.transformer, width=768),
        unfreeze=lambda _: None,
    )
    adapter = methods.load("mv_adapter", config={"middle": 128, "heads": 4}).attach(towers, methods.Shape(12, 32))
    gated = {tower: [layer for layer, a in adapter[tower].items() if a.gate is not None] for tower in ("vision", "text")}
    assert gated == {"vision": ["22", "23"], "text": ["10", "11"]}
    assert adapter["vision"]["0"].bottleneck.down.weight.shape == (128, 1024)


def attach(**config):
    torch.manual_seed(3)
    return methods.attach(small_clip(), methods.load("mv_adapter", config=config), shape=methods.Shape(4, 12))


def test_the_factor_is_one_parameter_shared_by_both_towers(batch):
    clip = attach(cmt_layers=2)
    assert [name for name in clip.trained() if "factors" in name] == ["adapter.factors.0", "adapter.factors.1"]
    frames, mask, captions = batch
    ids = clip.tokenize(captions, num_words=12)
    with torch.no_grad():
        for name, parameter in clip.trained().items():
            parameter.add_(0.3 * torch.randn_like(parameter) if name.startswith("adapter") else 0)
        before = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
        clip.trained()["adapter.factors.0"].add_(1.0)
        after = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, after, strict=True))


def test_only_the_up_projections_get_gradient_at_the_first_step(batch):
    clip = attach(clip_biases=False)
    frames, mask, captions = batch
    (clip.encode_frames(frames, mask=mask).sum() + clip.encode_text(clip.tokenize(captions, num_words=12)).sum()).backward()
    moved = {name.split(".")[-2] for name, p in clip.trained().items() if p.grad is not None and p.grad.any()}
    assert moved == {"up"}


def test_changing_a_word_never_changes_the_text_adapter_before_it():
    adapter, _ = build(TextAdapter, TEXT, L, "none")
    u = inputs(B, L, D)
    changed = u.clone()
    changed[:, 3] += 1
    with torch.no_grad():
        torch.testing.assert_close(adapter(u)[:, :3], adapter(changed)[:, :3], atol=0, rtol=0)
        assert not torch.allclose(adapter(u)[:, 3:], adapter(changed)[:, 3:])


def test_the_order_of_frames_changes_the_video_feature_once_trained(batch):
    clip = attach()
    with torch.no_grad():
        for name, parameter in clip.trained().items():
            if name.startswith("adapter"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        frames, mask, _ = batch
        forwards = clip.encode_frames(frames[:2], mask=mask[:2]).mean(1)
        backwards = clip.encode_frames(frames[:2].flip(1), mask=mask[:2]).mean(1)
    assert (forwards - backwards).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cmt_position": "sideways"}, "choose one of none, down_in"),
        ({"cmt_layers": 9}, "3 layers to tie"),
        ({"middle": 7}, "cannot be split"),
        ({"temporal": "conv"}, "choose one of none, transformer, calibrated"),
        ({"calibrate": "all"}, "choose one of cls, patches, both"),
        ({"video": False, "text": False}, "both false"),
    ],
)
def test_what_does_not_fit_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        attach(**config)
