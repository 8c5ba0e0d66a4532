"""AIM against its formula: attention over real frames at each place, then over space, with three adapters."""

import pytest
import torch
import torch.nn.functional as F

from tests.methods import naive


def bottleneck(module, x):
    return F.gelu(x @ module.down.weight.T + module.down.bias) @ module.up.weight.T + module.up.bias


@torch.no_grad()
@pytest.mark.parametrize("position", [False, True])
def test_time_then_space_then_the_joint_adapter(batch, position):
    clip = naive.attach("aim", middle=6, position=position)

    def embed(clip, frames):
        z = naive.embed(clip, frames)
        return z + clip.adapter["frames"]["position"][: len(z), None] if position else z

    def step(x, layer):
        block, modules = clip.vision.blocks[layer], clip.adapter["vision"][str(layer)]
        over_time = torch.stack([block.attention(block.ln_1(x[None, :, place]))[0] for place in range(x.shape[1])], 1)
        x = x + bottleneck(modules["time"], over_time)
        space = block.attention(block.ln_1(x))
        x = x + space + bottleneck(modules["space"], space)
        normed = block.ln_2(x)
        return x + block.mlp(normed) + 0.5 * bottleneck(modules["joint"], normed)

    naive.vision(clip, batch, step, embed=embed)


def test_vit_b32_has_10_651_392_trainable_parameters_in_the_vision_tower_and_positions_besides(base_clip):
    assert naive.count(base_clip, "aim", part="adapter.vision") == 10_651_392
    assert naive.count(base_clip, "aim", text="frozen") == 10_651_392
    assert naive.count(base_clip, "aim", text="frozen", position=True) == 10_651_392 + 12 * 768
