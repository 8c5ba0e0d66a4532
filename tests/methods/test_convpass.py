"""Convpass against its formula, and its count."""

import torch

from pipeline.clip.kept_once import quick_gelu
from tests.methods import naive


def full(h, conv):
    """A 3x3 convolution of h (N, H, W, M) with zeros around it, by summing shifted copies."""
    out = torch.zeros(*h.shape[:3], conv.out_channels) + conv.bias
    for y in range(h.shape[1]):
        for x in range(h.shape[2]):
            for a in range(3):
                for b in range(3):
                    if 0 <= y + a - 1 < h.shape[1] and 0 <= x + b - 1 < h.shape[2]:
                        out[:, y, x] += h[:, y + a - 1, x + b - 1] @ conv.weight[:, :, a, b].T
    return out


def bypass(module, x):
    h = quick_gelu(x @ module.down.weight.T + module.down.bias)
    cls = full(h[:, :1].unsqueeze(1), module.conv).flatten(1, 2)
    patches = full(h[:, 1:].view(len(h), 2, 2, -1), module.conv).flatten(1, 2)
    return quick_gelu(torch.cat([cls, patches], 1)) @ module.up.weight.T + module.up.bias


@torch.no_grad()
def test_two_convolutions_stand_beside_attention_and_mlp(batch):
    clip = naive.attach("convpass")

    def step(x, layer):
        block, modules = clip.vision.blocks[layer], clip.adapter["vision"][str(layer)]
        normed = block.ln_1(x)
        x = x + block.attention(normed) + 0.1 * bypass(modules["attention"], normed)
        normed = block.ln_2(x)
        return x + block.mlp(normed) + 0.1 * bypass(modules["mlp"], normed)

    naive.vision(clip, batch, step)


def test_vit_b32_has_327_552_trainable_parameters_in_the_vision_tower(base_clip):
    assert naive.count(base_clip, "convpass", part="adapter.vision") == 327_552
    assert naive.count(base_clip, "convpass", text="frozen") == 327_552
