"""Zero-shot CLIP through our block loop equals open_clip's own encoders."""

import torch

from pipeline import methods


def test_our_loop_equals_open_clip_on_both_towers(clip, batch):
    frames, mask, captions = batch
    ids = clip.tokenize(captions, num_words=clip.context_length)
    pixels = (frames.flatten(0, 1).float() / 255 - clip.mean) / clip.std
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_frames(frames, mask=mask).flatten(0, 1), clip.model.encode_image(pixels), atol=1e-6, rtol=1e-5
        )
        torch.testing.assert_close(clip.encode_text(ids), clip.model.encode_text(ids), atol=1e-6, rtol=1e-5)


def test_a_shorter_row_of_tokens_gives_the_same_text_feature(clip, batch):
    _, _, captions = batch
    with torch.no_grad():
        short = clip.encode_text(clip.tokenize(captions, num_words=12))
        full = clip.encode_text(clip.tokenize(captions, num_words=clip.context_length))
    torch.testing.assert_close(short, full, atol=1e-6, rtol=1e-5)


def test_nothing_is_trainable(clip):
    assert not methods.attach(clip, methods.load("zero_shot", config={}), shape=methods.Shape(4, 12)).trained()
