"""CLIP step by step with open_clip's own blocks, one video at a time, for tests that rewrite a method's formula."""

import torch

from pipeline import methods
from pipeline.clip.batch import Batch
from pipeline.evaluation.similarity import scores
from pipeline.training.loss import contrastive
from tests.conftest import small_clip
from tests.methods.cases import SHAPE


def attach(run, clip=None, *, shake=0.2, seed=3, **config):
    """A method on the small CLIP with every trained tensor moved, so that nothing is at a convenient zero."""
    clip = clip or small_clip()
    torch.manual_seed(seed)
    methods.attach(clip, methods.load(run, config=config), shape=SHAPE)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(shake * torch.randn_like(parameter))
    return clip


def count(clip, run, *, frames=12, words=32, part="", **config):
    """Trainable entries of a method on `clip`, of tensors whose names start with `part`; `clip` is plain again afterwards."""
    methods.attach(clip, methods.load(run, config=config), shape=methods.Shape(frames, words))
    number = sum(p.numel() for name, p in clip.trained().items() if name.startswith(part))
    clip.detach_all()
    return number


def loss(clip, features, mask, *, scale=None):
    """The loss of a batch by its definition: contrastive, and what a method adds to it."""
    frames, texts, *extra = (part.float() if part.dtype != torch.float64 else part for part in features)
    scale = clip.logit_scale if scale is None else scale

    def contrast(similarities):
        return contrastive(similarities, scale=scale)

    similarities = scores(texts, frames, mask=mask, temperature=clip.query_temperature, weigh=clip.frame_weights)
    seen = Batch(similarities, frames, texts, mask, extra[0] if extra else None, scale, contrast)
    return contrast(similarities) + sum(more(seen) for more in clip.losses)


def embed(clip, frames):
    """Frames (T, 3, S, S) -> tokens (T, 1+P, D) before ln_pre."""
    visual = clip.model.visual
    z = visual.conv1((frames.float() / 255 - clip.mean) / clip.std).flatten(2).transpose(1, 2)
    return torch.cat([visual.class_embedding.expand(len(z), 1, -1), z], 1) + visual.positional_embedding


def read(clip, tokens):
    """Tokens (T, L, D) -> frame features (T, E)."""
    return clip.model.visual.ln_post(tokens[:, 0]) @ clip.model.visual.proj


def videos(clip, batch, one):
    """Each video's real frames through `one` (frames -> features) against the same rows of encode_frames."""
    frames, mask, _ = batch
    found = clip.encode_frames(frames, mask=mask)
    for row, real in zip(range(len(frames)), mask.sum(1).tolist(), strict=True):
        torch.testing.assert_close(found[row, :real], one(frames[row, :real]), atol=2e-5, rtol=1e-4)


def vision(clip, batch, block, *, embed=embed):
    """The same for methods that change blocks only: `block` (tokens, layer -> tokens) after `embed` and ln_pre."""

    def one(frames):
        x = clip.model.visual.ln_pre(embed(clip, frames))
        for layer in range(len(clip.vision.blocks)):
            x = block(x, layer)
        return read(clip, x)

    videos(clip, batch, one)


def texts(clip, batch, block):
    """Each caption, without padding, through `block` (tokens, layer -> tokens), against encode_text."""
    ids = clip.tokenize(batch[2], num_words=SHAPE.num_words)
    model = clip.model
    for row, found in zip(ids, clip.encode_text(ids), strict=True):
        own = row[: int(row.argmax()) + 1]
        x = (model.token_embedding(own) + model.positional_embedding[: len(own)])[None]
        for layer in range(len(clip.text.blocks)):
            x = block(x, layer)
        torch.testing.assert_close(found, model.ln_final(x[0, -1]) @ model.text_projection, atol=2e-5, rtol=1e-4)


def causal(length):
    return torch.full((length, length), float("-inf")).triu(1)


def neighbours(h, weight, bias=None):
    """Depthwise convolution of h (T, H, W, M) with weight (M, 1, kt, kh, kw), zeros around it, by summing shifted copies."""
    out = torch.zeros_like(h)
    kt, kh, kw = weight.shape[2:]
    for t in range(h.shape[0]):
        for y in range(h.shape[1]):
            for x in range(h.shape[2]):
                for a in range(kt):
                    for b in range(kh):
                        for c in range(kw):
                            place = (t + a - kt // 2, y + b - kh // 2, x + c - kw // 2)
                            if all(0 <= p < size for p, size in zip(place, h.shape, strict=False)):
                                out[t, y, x] += h[place] * weight[:, 0, a, b, c]
    return out if bias is None else out + bias
