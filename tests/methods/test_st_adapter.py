"""ST-Adapter against its formula, one video at a time, and its count."""

import torch

from tests.methods import naive


@torch.no_grad()
def test_patches_see_the_frames_beside_them_and_padding_is_not_one(batch):
    clip = naive.attach("st_adapter", middle=6)

    def block(x, layer):
        module = clip.adapter["vision"][str(layer)]
        h = (x[:, 1:] @ module.down.weight.T + module.down.bias).view(len(x), 2, 2, 6)
        h = naive.neighbours(h, module.conv.weight, module.conv.bias).view(len(x), 4, 6)
        return clip.vision.blocks[layer](torch.cat([x[:, :1], x[:, 1:] + h @ module.up.weight.T + module.up.bias], 1))

    naive.vision(clip, batch, block)


def test_vit_b32_has_7_110_144_trainable_parameters_in_the_vision_tower(base_clip):
    assert naive.count(base_clip, "st_adapter", part="adapter.vision") == 7_110_144
    assert naive.count(base_clip, "st_adapter", text="frozen") == 7_110_144
    assert naive.count(base_clip, "st_adapter") == 7_110_144 + 12 * (2 * 512 * 64 + 64 + 512)
