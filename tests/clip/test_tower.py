"""Masks of attention: of the smallest shape that says the same, and made only where a frame is padded."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.clip.attention import attend
from pipeline.clip.tower import Flow
from pipeline.inputs.frozen import reaches
from tests.conftest import make_batch
from tests.methods.test_contract import attached, features, shake

JOINING = [("aim", {}), ("vop_f", {}), ("vop_f", {"shallow": 0}), ("vop_fc", {}), ("vop_fp", {})]


def test_hidden_tokens_are_those_of_a_mask_that_is_written_out(clip):
    block = clip.vision.blocks[0]
    for parameter in block.parameters():
        parameter.requires_grad_(True)
    torch.manual_seed(0)
    x, keys = torch.randn(3, 7, 32), torch.rand(3, 7) < 0.6
    keys[:, 0] = True
    added = torch.zeros(3, 7).masked_fill(~keys, float("-inf"))[:, None, None].expand(-1, 2, 7, -1).reshape(-1, 7, 7)

    def written_out(x):
        return block.attn(x, x, x, need_weights=False, attn_mask=added)[0]

    found = []
    for run in (lambda x: attend(block, x, keys), written_out):
        own = x.clone().requires_grad_()
        out = run(own)
        out.square().sum().backward()
        found.append((out, own.grad))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(found[0][0], attend(block, x, None))


def test_a_bias_of_keys_is_that_of_every_query_of_their_row(clip):
    block = clip.vision.blocks[0]
    torch.manual_seed(0)
    x, bias = torch.randn(7, 7, 32), torch.randn(7, 1, 7)  # as many rows as tokens: the shape alone must tell
    for row in range(len(x)):
        alone = attend(block, x[row : row + 1], bias[row].expand(7, -1))
        torch.testing.assert_close(attend(block, x, bias)[row : row + 1], alone, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(attend(block, x, bias), attend(block, x, None))


def test_pixels_memo_and_tokens_between_the_branches_are_a_methods_to_change(clip):
    """Black pixels, a memo that the last block reads, and fewer tokens behind the first attention, with and without checkpointing."""
    gain, seen = torch.nn.Parameter(torch.ones(())), []

    def dim(pixels, flow):
        flow.memo["pixels"] = gain * 2
        return pixels * 0

    def fewer(tokens, site):
        torch.testing.assert_close(site.normed, clip.vision.blocks[0].ln_1(site.stream))
        return tokens[:, :3]

    def read(tokens, flow):
        seen.append(tokens.shape[1])
        return tokens * flow.memo["pixels"]

    frames, mask, _ = make_batch()
    clip.vision.pixels.append(dim)
    clip.vision.hooks[0].between.append(fewer)
    clip.vision.hooks[-1].after.append(read)
    found = []
    for checkpointing in (False, True):
        clip.checkpointing(checkpointing)
        out = clip.encode_frames(frames, mask=mask)
        found.append((out, *torch.autograd.grad(out.square().sum(), gain)))
    assert set(seen) == {3} and torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert torch.equal(found[0][0], found[0][0][:1, :1].expand_as(found[0][0])), "all frames are black"
    assert reaches(clip)["vision"].level == 0
    clip.detach_all()
    assert not torch.equal(clip.encode_frames(frames, mask=mask), found[0][0]) and reaches(clip)["vision"].level == clip.vision.top + 1


@pytest.fixture
def masks(monkeypatch):
    """(rows, heads, tokens, keys) of each attention, and the numbers of its mask, 0 without one."""
    found, plain = [], F.scaled_dot_product_attention

    def noted(q, k, v, attn_mask=None, *others, **options):
        found.append(((*q.shape[:3], k.shape[2]), 0 if attn_mask is None else attn_mask.untyped_storage().nbytes() // attn_mask.itemsize))
        return plain(q, k, v, attn_mask, *others, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    return found


@pytest.mark.parametrize("case", JOINING, ids=str)
def test_a_padded_frame_costs_a_number_for_each_token_and_never_for_each_pair_of_tokens(case, masks):
    clip, batch = shake(attached(case)), make_batch()
    with torch.no_grad():
        clip.encode_frames(batch[0], mask=batch[1])
    hidden = [(shape, numbers) for shape, numbers in masks if numbers]
    assert len(hidden) >= 1
    for (rows, heads, _, keys), numbers in hidden:
        assert numbers <= rows * heads * keys
    masks.clear()
    with torch.no_grad():
        clip.encode_frames(batch[0], mask=torch.ones_like(batch[1]))
    assert not any(numbers for _, numbers in masks), "full attention needs no mask"


@pytest.mark.parametrize("case", [*JOINING, ("vop_c", {})], ids=str)
def test_the_frames_of_a_video_are_counted_once_a_pass(case, monkeypatch):
    clip, counted, plain = shake(attached(case)), [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: counted.append(tensor) or plain(tensor))
    features(clip, make_batch())
    assert len(counted) == 1


def test_lengths_are_those_of_real_frames():
    flow = Flow(num_frames=4, read=torch.zeros(3, dtype=torch.long), frame_mask=make_batch()[1])
    assert flow.lengths.tolist() == [4, 4, 2] and flow.padded
    assert not Flow(num_frames=4, read=flow.read, frame_mask=torch.ones(3, 4, dtype=torch.bool)).padded
