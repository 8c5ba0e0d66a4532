"""The prompt cube by hand and against a naive rewrite; padded frames; counts and products; a wrong setting."""

import pytest
import torch

from pipeline import methods
from pipeline.clip.tower import Flow, Site
from pipeline.cost import measure
from pipeline.methods.prompt_cube import Exchange
from tests.conftest import small_clip
from tests.methods import naive
from tests.methods.cases import SHAPE


class Read:
    """A tower that is read at CLS."""

    cls = 1


def test_frames_exchange_prompts_by_hand_and_the_stream_keeps_its_own():
    """Three frames of CLS, three prompts and a patch; prompt j of frame t is 10 t + j; the last frame is padded."""
    tokens = torch.tensor([[-1.0, 0, 1, 2, -2], [-1, 10, 11, 12, -2], [-1, 20, 21, 22, -2]])[..., None]
    flow = Flow(num_frames=3, read=torch.zeros(1), frame_mask=torch.tensor([[True, True, False]]))
    exchange = Exchange(Read())
    changed = exchange.tokens(tokens, flow)
    assert changed[..., 0].tolist() == [[-1, 0, 10, 2, -2], [-1, 1, 11, 12, -2], [-1, 20, 21, 22, -2]]
    flow.frame_mask = torch.ones(1, 3, dtype=torch.bool)
    assert exchange.tokens(tokens, flow)[:, 1:4, 0].tolist() == [[0, 10, 20], [1, 11, 21], [2, 12, 22]]
    stream = exchange.tokens(tokens, flow)
    branch = torch.full_like(tokens, 100)
    back = exchange.back(branch, Site(stream=stream, normed=stream, flow=flow))
    assert torch.equal(stream + back, tokens + 100)


def rewritten(clip, frames):
    """The real frames (T, ...) of a video: prompts of each in a layer, exchanged on the way into its attention."""
    cube, number, visual = clip.adapter["vision"]["prompts"], len(frames), clip.model.visual
    x = visual.ln_pre(naive.embed(clip, frames))
    x = torch.cat([x, cube[:number]], dim=1)  # behind the patches, as in the paper; T of 4 prompts
    for block in clip.vision.blocks:
        z = block.ln_1(x)
        z[:, -4 : -4 + number or None] = z[:, -4 : -4 + number or None].transpose(0, 1).clone()
        x = x + block.attn(z, z, z, need_weights=False)[0]
        x = x + block.mlp(block.ln_2(x))
    return naive.read(clip, x)


@torch.no_grad()
def test_frames_equal_a_naive_rewrite_padded_ones_or_not_and_texts_are_frozen_where_asked(batch):
    clip = naive.attach("prompt_cube", text="frozen")
    naive.videos(clip, batch, lambda frames: rewritten(clip, frames))
    ids = clip.tokenize(batch[2], num_words=SHAPE.num_words)
    assert torch.equal(clip.encode_text(ids), small_clip().encode_text(ids))


@torch.no_grad()
def test_fewer_frames_are_as_padded_ones(batch):
    clip = naive.attach("prompt_cube")
    pixels, mask = batch[0][2:], batch[1][2:]
    short = clip.encode_frames(pixels[:, :2], mask=mask[:, :2])
    torch.testing.assert_close(clip.encode_frames(pixels, mask=mask)[:, :2], short, atol=1e-5, rtol=1e-5)


def test_prompts_start_narrow():
    clip = methods.attach(small_clip(), methods.load("prompt_cube", config={}), shape=methods.Shape(20, 12))
    assert clip.adapter["vision"]["prompts"].std().item() == pytest.approx(0.02 / 32**0.5, rel=0.05)


def test_vit_b32_has_110_592_trainable_parameters_in_vision(base_clip):
    assert naive.count(base_clip, "prompt_cube", text="frozen") == 12 * 12 * 768 == 110_592
    assert naive.count(base_clip, "prompt_cube") == 110_592 + 793_344
    assert naive.count(base_clip, "prompt_cube", text="frozen", last_blocks=3) == 110_592


def test_a_video_costs_its_prompts():
    frames, tokens, width, grown = 4, 5, 32, 9
    clip = methods.attach(small_clip(), methods.load("prompt_cube", config={"text": "frozen"}), shape=SHAPE)
    found, plain = (measure.macs(one, num_frames=frames, num_words=12, device=torch.device("cpu")) for one in (clip, small_clip()))

    def block(length):
        return length * 12 * width * width + 2 * length * length * width

    assert found["macs_per_video"] - plain["macs_per_video"] == frames * 3 * (block(grown) - block(tokens))


def test_an_unknown_text_is_refused():
    with pytest.raises(ValueError, match="text is 'deep'; choose one of"):
        methods.attach(small_clip(), methods.load("prompt_cube", config={"text": "deep"}), shape=SHAPE)
