"""The toy CLIP, inputs and weights of dgl_stop.md 10: each number is a sine of its index, so that features can be compared."""

import math

import open_clip
import torch

from pipeline import methods
from pipeline.clip import FrozenClip, forward

SHAPE = methods.Shape(num_frames=4, num_words=12)
VISION = {"image_size": 64, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 600, "width": 48, "heads": 4, "layers": 3}
FULL, PADDED = torch.ones(2, 4, dtype=torch.bool), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()
IDS = torch.tensor([[598, 5, 17, 301, 599, *7 * [0]], [598, 44, 120, 7, 256, 399, 3, 81, 500, 12, 33, 599]])


def wave(shape, *, j):
    k = torch.arange(math.prod(shape))
    return torch.sin(0.37 * k.double() + 1.3 * (k * k % 97).double() + 0.7 * j + 1.0).float().view(shape)


def pixels():
    k = torch.arange(2 * 4 * 3 * 64 * 64)
    return torch.sin(0.0137 * k.double() + 0.09 * (k * k % 89).double() + 0.5).float().view(2, 4, 3, 64, 64)


def clip():
    model = open_clip.CLIP(embed_dim=32, vision_cfg=VISION, text_cfg=TEXT, quick_gelu=True)
    named = dict(model.named_parameters())
    assert len(named) == 86
    for j, name in enumerate(sorted(named)):
        tensor, made = named[name], wave(named[name].shape, j=j)
        if tensor.ndim >= 2:
            made = made / math.sqrt(made[0].numel() if tensor.ndim == 4 else made.shape[-1])
        else:
            made = 0.1 * made + (1 if "ln_" in name and name.endswith("weight") else 0)
        tensor.data = made if name != "logit_scale" else torch.tensor(4.6052)
    return FrozenClip(model, name="toy")


def linear(place, j):
    return {f"{place}.weight": j, f"{place}.bias": j + 1}


# Ordinals of section 10 by the names of our tensors.
LINEAR = {"vision.globals.prompts": 100, "shared.prompts": 101} | linear("text.prefix", 102) | linear("text.postfix", 104)
BLOCK = {}
for i, part in enumerate(("ln_1", "qkv", "out", "ln_2", "fc", "proj")):
    BLOCK |= linear(f"shared.block.{part}", 107 + 2 * i)
TRANSFORMER = {"vision.globals.prompts": 100, "shared.prompts": 106} | BLOCK | linear("text.up", 119) | linear("text.down", 121)
INTRA = {
    "conv1": 130,
    "conv2": 132,
    "slope1": 134,
    "conv3": 135,
    "slope2": 137,
    "conv4": 138,
    "lin1": 140,
    "slope3": 142,
    "lin2": 143,
    "motion": 145,
}
INTER = {"attention.out_proj": 149, "conv1": 151, "slope1": 153, "conv2": 154, "lin1": 156, "slope2": 158, "lin2": 159, "change": 161}
STOP = {"vision.inter.attention.in_proj_weight": 147, "vision.inter.attention.in_proj_bias": 148}
for part, ordinals in (("vision.intra", INTRA), ("vision.inter", INTER)):
    STOP |= {name: j for place, first in ordinals.items() for name, j in linear(f"{part}.{place}", first).items()}
for tower, base in (("vision", 200), ("text", 400)):
    for layer in range(3):
        for place, j in (("down", 0), ("slope", 2), ("up", 3)):
            STOP |= linear(f"{tower}.mlp.{layer}.{place}", base + 5 * layer + j)


def filled(name, shape, j):
    """A tensor of a method by its kind; the last maps of STOP's two parts ten times larger."""
    made = wave(shape, j=j)
    if name.endswith("prompts"):
        return 0.3 * made
    if "slope" in name:
        return 0.25 + 0.1 * made
    if name.endswith("bias"):
        return 0.1 * made
    if "ln_" in name:
        return 1 + 0.1 * made
    gain = 10 if name.endswith(("intra.lin2.weight", "inter.lin2.weight")) else 1
    return gain * made / math.sqrt(made[0].numel())


def attach(run, **config):
    """DGL or STOP on the toy CLIP, with section 10's tensors and heads."""
    toy = clip()
    methods.attach(toy, methods.load(run, config=config), shape=SHAPE).eval()
    ordinals = STOP | (TRANSFORMER if run.endswith("transformer") else LINEAR)
    for name, parameter in toy.adapter.named_parameters():
        parameter.data = filled(name, parameter.shape, ordinals[name])
    for name, module in toy.adapter.named_modules():
        if name == "shared.block":
            module.heads = 4
        if name.endswith("inter.attention"):
            module.num_heads, module.head_dim = 4, 16
    return toy


@torch.no_grad()
def video(toy, mask=FULL):
    """The features of all frames, before any is normalised (2, 4, 32)."""
    return forward.frames_at(toy.vision.top + 1, pixels(), toy.model.visual, toy.vision, mask=mask, start=0)


@torch.no_grad()
def text(toy):
    return toy.encode_text(IDS)


def table(lines):
    """Rows of the specification: a name and eight numbers."""
    return {name: torch.tensor([float(x) for x in rest]) for name, *rest in map(str.split, lines.strip().splitlines())}


def compare(toy, lines, sums, *, mask):
    """The first eight of 32 values of two videos and two captions, and the sums over all, with the specification's."""
    frames, said = video(toy, mask), text(toy)
    found = {"v": frames[:, 0], "t": said}
    for name, wanted in table(lines).items():
        torch.testing.assert_close(found[name[0]][int(name[1])][:8], wanted, atol=2e-5, rtol=0)
    torch.testing.assert_close(torch.stack([part.abs().sum() for part in found.values()]), torch.tensor(sums), atol=5e-4, rtol=0)
