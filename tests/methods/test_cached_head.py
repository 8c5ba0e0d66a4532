"""The cached head: a function of CLIP's frozen features alone, equal to its formula; its count."""

import torch
import torch.nn.functional as F

from tests.conftest import small_clip
from tests.methods import naive


@torch.no_grad()
def test_stored_features_are_enough(batch):
    clip, plain, (frames, mask, captions) = naive.attach("cached_head"), small_clip(), batch
    ids = clip.tokenize(captions, num_words=12)
    stored, said = plain.encode_frames(frames, mask=mask), plain.encode_text(ids)
    torch.testing.assert_close(clip.frame_head[0](stored, mask), clip.encode_frames(frames, mask=mask), atol=0, rtol=0)
    torch.testing.assert_close(clip.text_head[0](said), clip.encode_text(ids), atol=0, rtol=0)


def attention(mixer, z, heads):
    q, k, v = (z @ mixer.qkv.weight.T + mixer.qkv.bias).chunk(3, -1)
    out = [torch.softmax(a @ b.T / a.shape[1] ** 0.5, -1) @ c for a, b, c in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True)]
    return torch.cat(out, -1) @ mixer.out.weight.T + mixer.out.bias


@torch.no_grad()
def test_both_heads_equal_the_formula(batch):
    clip, plain, (frames, mask, captions) = naive.attach("cached_head"), small_clip(), batch
    head, features = clip.adapter["video"], plain.encode_frames(frames, mask=mask)
    found = clip.encode_frames(frames, mask=mask)
    for row, real in enumerate(mask.sum(1).tolist()):
        f = features[row, :real]
        mixer = head.blocks[0]
        x = f + head.position[:real]
        x = x + attention(mixer, mixer.ln_1(x), 1)
        h = mixer.ln_2(x) @ mixer.fc.weight.T + mixer.fc.bias
        x = x + (h * torch.sigmoid(1.702 * h)) @ mixer.proj.weight.T + mixer.proj.bias
        torch.testing.assert_close(found[row, :real], f + x @ head.out.weight.T + head.out.bias, atol=1e-5, rtol=1e-4)
    ids = clip.tokenize(captions, num_words=12)
    text, said = clip.adapter["text"], plain.encode_text(ids)
    expected = said + F.gelu(said @ text.down.weight.T + text.down.bias) @ text.up.weight.T + text.up.bias
    torch.testing.assert_close(clip.encode_text(ids), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_prefix_tokens_enter_at_the_first_layer_and_stay(batch):
    clip = naive.attach("cached_head", text="prefix", prefix=4)
    ids, model, prompts = clip.tokenize(batch[2], num_words=12), clip.model, clip.adapter["text"]["prompts"][0]
    x = model.token_embedding(ids)
    x = torch.cat([x[:, :1], prompts.expand(3, -1, -1), x[:, 1:]], 1) + model.positional_embedding[:16]
    for block in clip.text.blocks:
        x = block(x, attn_mask=naive.causal(16))
    expected = model.ln_final(x[torch.arange(3), ids.argmax(1) + 4]) @ model.text_projection
    torch.testing.assert_close(clip.encode_text(ids), expected, atol=1e-5, rtol=1e-4)


def test_vit_b32_has_the_closed_form_of_trainable_parameters(base_clip):
    block, linear = 12 * 512**2 + 13 * 512, 512**2 + 512
    assert naive.count(base_clip, "cached_head") == block + linear + 12 * 512 + 2 * linear
    assert naive.count(base_clip, "cached_head", text="frozen", layers=2) == 2 * block + linear + 12 * 512
    assert naive.count(base_clip, "cached_head", text="prefix") == block + linear + 12 * 512 + 16 * 512
