"""The two adapters that are known from their counts only: the counts, and what we made of them."""

import torch
import torch.nn.functional as F

from tests.methods import naive


def bottleneck(module, x, mix=lambda h: h):
    return F.gelu(mix(x @ module.down.weight.T + module.down.bias)) @ module.up.weight.T + module.up.bias


@torch.no_grad()
def test_one_bottleneck_stands_at_the_entry_of_every_block_of_both_towers(batch):
    clip = naive.attach("visual_text_adapter", middle=6)

    def video(x, layer):
        return clip.vision.blocks[layer](x + bottleneck(clip.adapter["vision"][str(layer)], x))

    def text(x, layer):
        x = x + bottleneck(clip.adapter["text"][str(layer)], x)
        return clip.text.blocks[layer](x, attn_mask=naive.causal(x.shape[1]))

    naive.vision(clip, batch, video)
    naive.texts(clip, batch, text)


@torch.no_grad()
def test_the_video_one_convolves_patches_over_space_and_time_and_cls_not_at_all(batch):
    clip = naive.attach("video_text_adapter", middle=6)

    def block(x, layer):
        module = clip.adapter["vision"][str(layer)]
        cls = bottleneck(module, x[:, :1])
        mixed = bottleneck(module, x[:, 1:], lambda h: naive.neighbours(h.view(len(h), 2, 2, 6), module.conv.weight).view(len(h), 4, 6))
        return clip.vision.blocks[layer](x + torch.cat([cls, mixed], 1))

    naive.vision(clip, batch, block)


def test_vit_b32_has_the_numbers_of_the_table_they_come_from(base_clip):
    assert naive.count(base_clip, "visual_text_adapter") == 11_821_056
    assert naive.count(base_clip, "video_text_adapter") == 11_945_472
    assert naive.count(base_clip, "video_text_adapter", conv_bias=True) == 11_950_080
