"""What every method must do, whatever it is. A method that cannot do one of these is wrong, not special."""

import pytest
import torch

from pipeline import checkpoint, methods
from pipeline.loss import contrastive
from pipeline.similarity import pool
from tests.conftest import small_clip

WORDS = 12
SHAPE = methods.Shape(num_frames=4, num_words=WORDS)
NAMES = methods.names()


def attached(name, seed=3, config=None):
    clip = small_clip()
    torch.manual_seed(seed)
    return methods.attach(clip, methods.load(name, config=config or {}), shape=SHAPE)


def shake(clip):
    """Move every trainable tensor, so that zero-initialised ones take part."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return clip


def outputs(clip, batch):
    frames, mask, captions = batch
    with torch.no_grad():
        return clip.encode_frames(frames, mask=mask), clip.encode_text(clip.tokenize(captions, num_words=WORDS))


def step(clip, batch, optimiser):
    frames, mask, captions = batch
    videos = pool(clip.encode_frames(frames, mask=mask), mask=mask)
    texts = torch.nn.functional.normalize(clip.encode_text(clip.tokenize(captions, num_words=WORDS)), dim=-1)
    optimiser.zero_grad()
    contrastive(texts, videos, scale=clip.logit_scale).backward()
    optimiser.step()


trainable = [name for name in NAMES if name != "zero_shot"]


@pytest.mark.parametrize("name", [n for n in NAMES if methods.load(n, config={}).identity_at_init])
def test_equals_clip_before_training(name, batch):
    for ours, plain in zip(outputs(attached(name), batch), outputs(small_clip(), batch), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", trainable)
def test_every_trainable_tensor_gets_gradient_and_no_other_tensor_moves(name, batch):
    clip = attached(name)
    named, before = clip.trained(), {n: p.detach().clone() for n, p in clip.named_parameters()}
    touched = {n: torch.zeros_like(p, dtype=torch.bool) for n, p in named.items()}
    optimiser = torch.optim.SGD(named.values(), lr=0.5)
    for _ in range(4):
        step(clip, batch, optimiser)
        for n, p in named.items():
            touched[n] |= p.grad != 0
    assert not [n for n, hit in touched.items() if not hit.any()]
    ours = {id(p) for p in named.values()}
    for n, p in clip.named_parameters():
        assert p.requires_grad == (id(p) in ours), n
        if id(p) not in ours:
            torch.testing.assert_close(p, before[n], atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_batch_order_padding_and_batch_size_never_change_an_embedding(name, batch):
    clip = shake(attached(name))
    frames, mask, captions = batch
    videos, texts = outputs(clip, batch)
    noisy = frames.clone()
    noisy[~mask] = 77
    padded, _ = outputs(clip, (noisy, mask, captions))
    torch.testing.assert_close(padded[mask], videos[mask], atol=1e-5, rtol=1e-5)
    back = [2, 1, 0]
    turned, said = outputs(clip, (frames[back], mask[back], [captions[i] for i in back]))
    torch.testing.assert_close(turned[back], videos, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said[back], texts, atol=1e-5, rtol=1e-5)
    single, word = outputs(clip, (frames[1:2], mask[1:2], captions[1:2]))
    torch.testing.assert_close(single[0], videos[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(word[0], texts[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_holds_only_what_was_trained_and_round_trips(name, batch, tmp_path):
    clip = shake(attached(name))
    header = {"backbone": clip.name, "backbone_digest": clip.digest}
    checkpoint.save(tmp_path / "a.safetensors", clip.trained(), header=header)
    other = attached(name, seed=99)
    assert checkpoint.load_into(other, tmp_path / "a.safetensors") == header
    for ours, theirs in zip(outputs(other, batch), outputs(clip, batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    numbers = sum(p.numel() for p in clip.trained().values())
    assert 4 * numbers <= (tmp_path / "a.safetensors").stat().st_size <= 4 * numbers + 300 * len(clip.trained()) + 600


@pytest.mark.parametrize("name", NAMES)
def test_detaching_gives_clip_back_bit_for_bit(name, batch):
    clip = shake(attached(name))
    clip.detach_all()
    for ours, plain in zip(outputs(clip, batch), outputs(small_clip(), batch), strict=True):
        torch.testing.assert_close(ours, plain, atol=0, rtol=0)
    assert not clip.trained()
    assert not any(p.requires_grad for p in clip.parameters())


def test_the_same_adapter_gives_the_same_file_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, attached("mv_adapter").trained(), header={"b": 1, "a": [2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_of_another_backbone_is_refused_with_both_names(tmp_path):
    clip = attached("vop")
    checkpoint.save(tmp_path / "a", clip.trained(), header={"backbone": "ViT-X", "backbone_digest": "0" * 64})
    with pytest.raises(ValueError, match=r"trained on backbone ViT-X \(000000000000\), not on small"):
        checkpoint.load_into(clip, tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x80\x04\x95"])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors is not an adapter checkpoint"):
        checkpoint.read_header(tmp_path / "a.safetensors")


def test_other_settings_than_the_checkpoints_are_refused(tmp_path):
    clip = attached("mv_adapter")
    checkpoint.save(tmp_path / "a", clip.trained(), header={"backbone": clip.name, "backbone_digest": clip.digest})
    with pytest.raises(ValueError, match="has shape"):
        checkpoint.load_into(attached("mv_adapter", config={"middle": 32}), tmp_path / "a")
    with pytest.raises(ValueError, match="holds the unknown 'clip"):
        checkpoint.load_into(attached("mv_adapter", config={"clip_biases": False}), tmp_path / "a")


def test_unknown_hyperparameter_and_wrong_type_are_one_sentence():
    with pytest.raises(ValueError, match=r"methods.vop.config: .*visual_promts"):
        methods.load("vop", config={"visual_promts": 4})
    with pytest.raises(ValueError, match=r"methods.vop.config"):
        methods.load("vop", config={"visual_prompts": "many"})


def test_every_method_names_its_paper_and_has_a_test_file():
    from pathlib import Path

    for name in NAMES:
        method = methods.load(name, config={})
        assert method.paper.startswith("arXiv:")
        assert type(method).__doc__ and method.paper in __import__(f"pipeline.methods.{name}", fromlist=["x"]).__doc__
        assert (Path(__file__).parent / f"test_{name}.py").is_file()
