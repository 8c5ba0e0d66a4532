"""A CLIP, adapters, videos and texts filled by one formula, for numbers that other code computed from the same formula."""

import math

import numpy as np
import open_clip
import torch

from pipeline import methods
from pipeline.clip import FrozenClip

VOCABULARY = 64


def wave(shape, ordinal):
    """sin(2 pi ((7 k^2 + 131 k + 977 j) mod 10007) / 10007) for the elements k of a tensor with ordinal j."""
    k = np.arange(math.prod(shape), dtype=np.int64)
    return torch.from_numpy(np.sin(2 * np.pi * ((7 * k**2 + 131 * k + 977 * ordinal) % 10007) / 10007)).float().view(shape)


def toy_clip(layers, text_layers=3):
    """A CLIP of 4 x 4 patches, 64 and 48 wide."""
    model = open_clip.CLIP(
        embed_dim=32,
        quick_gelu=True,
        vision_cfg={"image_size": 64, "layers": layers, "width": 64, "head_width": 16, "patch_size": 16},
        text_cfg={"context_length": 16, "vocab_size": VOCABULARY, "width": 48, "heads": 4, "layers": text_layers},
    )
    with torch.no_grad():
        for ordinal, (name, tensor) in enumerate(sorted(model.named_parameters())):
            tensor.copy_(_scaled(name, wave(tensor.shape, ordinal)))
    return FrozenClip(model, name="toy")


def _scaled(name, values):
    if name == "logit_scale":
        return torch.tensor(math.log(20))
    if values.ndim > 1:
        return math.sqrt(2 / (values[0].numel() if values.ndim == 4 else values.shape[-1])) * values
    return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values


@torch.no_grad()
def fill(clip, rank):
    """Values for LoRA, the positions of clips, and the adapters that fuse frames, by what they are and by their layer."""
    for name, tensor in clip.trained().items():
        place, values = name.split("."), lambda ordinal, gain, of=tensor: of.copy_(gain * wave(of.shape, ordinal))
        if place[1] == "positions":
            values(1400 + int(place[2]), 0.3)
            continue
        tower, layer = ("text" in place[1]), int(place[2])
        width = clip.text.width if tower else clip.vision.width
        if "qkv" in place:
            first = 1000 + 200 * tower + 2 * layer
            values(first, math.sqrt(2 / width)) if "down" in place else values(first + 1, 0.3 * math.sqrt(2 / rank))
        else:
            kind = ("down.weight", "down.bias", "up.weight", "up.bias").index(".".join(place[-2:]))
            values(1500 + 200 * tower + 4 * layer + kind, (math.sqrt(2 / width), 0.1, math.sqrt(2 / rank), 0.1)[kind])
    return clip


def attached(run, *, layers, frames, words, rank, **config):
    clip = toy_clip(layers)
    method = methods.load(run, config={"rank": rank} | config)
    return fill(methods.attach(clip, method, shape=methods.Shape(frames, words)), rank)


def videos(number, frames, salt):
    """Pictures (B, T, 3, 64, 64) of bytes."""
    k = np.arange(3 * 64 * 64, dtype=np.int64)
    made = np.empty((number, frames, len(k)))
    for b in range(number):
        for t in range(frames):
            made[b, t] = np.floor(128 + 127 * np.sin(2 * np.pi * ((7 * k**2 + 131 * k + 977 * (500 + salt + b) + 600 * t) % 10007) / 10007))
    return torch.from_numpy(made.astype(np.uint8)).view(number, frames, 3, 64, 64)


def texts(rows, words, extra=0):
    """Token ids (rows, words): start, some words, end, zeros."""
    ids = torch.zeros(rows, words, dtype=torch.long)
    for i in range(rows):
        number = 2 + (5 * i + 3 * extra) % (words - 3)
        said = [1 + (13 * i + 7 * w + w * w + 5 * extra) % (VOCABULARY - 3) for w in range(number)]
        ids[i, : number + 2] = torch.tensor([VOCABULARY - 2, *said, VOCABULARY - 1])
    return ids


def means(frames, mask):
    """The mean of the unit features of each video's real frames, which the last normalisation sees."""
    weight = mask[..., None].float()
    return (torch.nn.functional.normalize(frames, dim=-1) * weight).sum(1) / weight.sum(1)


def check(wanted, found, *, atol):
    """The first entries of rows, written as "video 1" or "frame 0 3", against tensors by the first word."""
    for name, numbers in wanted.items():
        kind, *place = name.split()
        if kind in found:
            row = found[kind][tuple(map(int, place))]
            values = torch.tensor(list(map(float, numbers.split())))
            torch.testing.assert_close(row[: len(values)], values, atol=atol, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def towers(*, image, patch, layers=12):
    """A narrow CLIP with as many tokens and layers as a wide one."""
    vision = {"image_size": image, "layers": layers, "width": 16, "head_width": 8, "patch_size": patch}
    text = {"context_length": 16, "vocab_size": VOCABULARY, "width": 16, "heads": 2, "layers": 2}
    return FrozenClip(open_clip.CLIP(embed_dim=8, quick_gelu=True, vision_cfg=vision, text_cfg=text), name="narrow")
