"""How many videos and captions go through the towers at once follows from memory and `chunk`; what does not fit is one sentence."""

import numpy as np
import pytest
import torch

from pipeline.cost import measure
from pipeline.evaluation import embed as embedding
from pipeline.evaluation.embed import embed
from pipeline.inputs.directions import reverse
from pipeline.inputs.split import Split
from pipeline.runtime import memory
from pipeline.runtime.explained import OutOfMemory
from tests.conftest import small_clip
from tests.training.planted import fit, planted

CPU = torch.device("cpu")


@pytest.fixture
def sizes(monkeypatch):
    """The videos and captions of each pass."""
    found, videos, texts = {"videos": [], "texts": []}, Split.encode_videos, Split.encode_texts

    def seen(self, clip, batch):
        found["videos"].append(len(batch.mask))
        return videos(self, clip, batch)

    def said(self, clip, batch):
        found["texts"].append(len(batch.ids))
        return texts(self, clip, batch)

    monkeypatch.setattr(Split, "encode_videos", seen)
    monkeypatch.setattr(Split, "encode_texts", said)
    return found


def bytes_of(run):
    """The most that is there at once of the storages that a run makes."""
    with torch.no_grad(), memory.Made() as made:
        run()
    return made.most


def black(clip, *, frames):
    """A video that is to go through a tower."""
    seen = torch.zeros(1, frames, 3, clip.image_size, clip.image_size, dtype=torch.uint8)
    mask = torch.ones(1, frames, dtype=torch.bool)
    return lambda: clip.encode_frames(seen, mask=mask)


def test_as_many_as_fit_go_through_the_towers_at_once_and_the_vectors_are_the_same(clip, sizes, monkeypatch):
    split = planted(clip, videos=20, captions=1)
    whole = embed(clip, split, device=CPU)
    assert sizes["videos"] == [1, 20] and sizes["texts"] == [1, 20]
    monkeypatch.setattr(memory, "CPU_BYTES", 6.5 * bytes_of(lambda: embedding._features(clip, split, np.arange(1), CPU)))
    sizes["videos"].clear()
    pieces = embed(clip, split, device=CPU)
    assert sizes["videos"] == [1, 6, 6, 6, 2]
    for one, other in ((whole.video, pieces.video), (whole.text, pieces.text)):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_measure_is_what_fake_tensors_count_of_64_videos(base_clip):
    """ViT-B/32 with 12 frames: 2.2 GB over the weights, so that 64 videos go through the tower at once on a CPU too."""
    assert 64 * bytes_of(black(base_clip, frames=12)) == pytest.approx(2.2e9, rel=0.05)


@pytest.mark.parametrize(("chunk", "expected"), [(3, [1, 3, 3, 3, 1]), (100, [1, 10]), (0, [1, 10])])
def test_chunk_bounds_the_embedding_too(clip, sizes, chunk, expected):
    embed(clip, planted(clip, videos=10, captions=1), device=CPU, chunk=chunk)
    assert sizes["videos"] == expected and sizes["texts"] == expected


def test_a_validation_takes_the_chunk_of_its_training(sizes, tmp_path):
    fit("vop", tmp_path, epochs=1, chunk=4, gallery=10)
    assert max(sizes["videos"]) == 4


def test_more_than_64_are_never_taken(clip, sizes):
    embed(clip, planted(clip, videos=70, captions=1), device=CPU)
    assert sizes["videos"] == [1, 64, 6]


@pytest.mark.parametrize(("what", "method"), [("videos", "encode_frames"), ("captions", "encode_text")])
def test_the_end_of_memory_says_how_much_was_needed_and_names_chunk(clip, monkeypatch, what, method):
    plain = getattr(type(clip), method)

    def full(self, batch, *others, **options):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 39.39 GiB.")
        return plain(self, batch, *others, **options)

    monkeypatch.setattr(type(clip), method, full)
    sentence = (
        rf"^out of memory on cpu in the embedding of {what}: 2.7 GB more were needed; set train.chunk: 32 \(now 64 {what} at once\), or"
    )
    with pytest.raises(OutOfMemory, match=sentence):
        embed(clip, planted(clip, videos=4, captions=1), device=CPU)


def test_a_split_of_one_video_and_of_no_caption_is_embedded(clip):
    split = planted(clip, videos=1, captions=1)
    assert embed(clip, split, device=CPU).video.shape == (1, 16)


def test_a_video_without_a_frame_is_named_before_it_is_embedded(clip):
    split = planted(clip, videos=4, captions=1)
    split.store.mask[2] = False
    with pytest.raises(ValueError, match="^video 'v2' has no real frame; transcoding should have listed it as missing$"):
        embed(clip, split, device=CPU)


def test_the_rate_is_measured_with_as_many_as_fit(monkeypatch):
    clip, sizes = small_clip(), []
    plain = type(clip).encode_frames
    monkeypatch.setattr(type(clip), "encode_frames", lambda self, seen, **options: sizes.append(len(seen)) or plain(self, seen, **options))
    assert measure.rate(clip, num_frames=4, device=CPU) > 0 and sizes == [1, 32]
    sizes.clear()
    monkeypatch.setattr(memory, "CPU_BYTES", 10.8 * bytes_of(black(clip, frames=4)))
    sizes.clear()
    assert measure.rate(clip, num_frames=4, device=CPU) > 0 and sizes == [1, 10, 10, 10, 2]


def test_the_twin_leaves_any_padding_where_it_is():
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    frames = torch.arange(16).view(4, 4)
    assert reverse(frames, mask=mask).tolist() == [[3, 2, 1, 0], [4, 7, 6, 5], [10, 9, 8, 11], [12, 13, 14, 15]]
