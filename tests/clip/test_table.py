"""Large token tables: kept as their file has them, frozen unless asked for, and never felt in a feature."""

import json
from pathlib import Path

import open_clip
import pytest
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import build, load_backbone, table
from pipeline.config.parse import stated
from pipeline.config.schema import Backbone
from pipeline.inputs import frozen

NAME = "clip-tiny-pe"
TEXTS = ["a red star", "a blue circle moves left"]
SHAPE = methods.Shape(4, 12)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("table") / "weights.pt"
    torch.save({name: value.to(torch.float16) for name, value in build(NAME).state_dict().items()}, path)
    return path


def opened(file):
    clip = load_backbone(Backbone(NAME, str(file)))
    return clip, clip.model.token_embedding.weight


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(table, "LARGE", 1_000_000)


def said(clip):
    with torch.no_grad():
        return clip.encode_text(clip.tokenize(TEXTS, num_words=12))


@pytest.fixture(scope="module")
def small(file):
    """Digest and features of the same file where its table is not large; in float32 and in bfloat16."""
    clip, weight = opened(file)
    assert weight.dtype == torch.float32
    digest, whole = clip.digest, said(clip)
    clip.compute_in("bfloat16")
    assert weight.dtype == torch.bfloat16
    return digest, whole, said(clip)


@pytest.mark.usefixtures("large")
def test_a_large_table_keeps_its_type_and_features_their_bits(file, small):
    clip, weight = opened(file)
    kinds = {name: parameter.dtype for name, parameter in clip.model.named_parameters()}
    assert kinds.pop(table.NAME) == torch.float16 and set(kinds.values()) == {torch.float32}
    assert clip.digest == small[0] and torch.equal(said(clip), small[1])
    clip.compute_in("bfloat16")
    assert weight.dtype == torch.float16 and torch.equal(said(clip), small[2])


@pytest.mark.usefixtures("large")
def test_a_type_that_is_none_of_three_becomes_float32(file, tmp_path, small):
    state = {name: value.to(torch.float64) for name, value in torch.load(file).items()}
    torch.save(state, tmp_path / "double.pt")
    clip, weight = opened(tmp_path / "double.pt")
    assert weight.dtype == torch.float32 and clip.digest == small[0]


@pytest.mark.usefixtures("large")
def test_a_large_table_is_not_drawn_before_its_file_is_read():
    model = build(NAME, draw_table=False)
    assert model.token_embedding.weight.is_meta and model.token_embedding.weight.shape == (49408, 128) and model.vocab_size == 49408
    assert not build(NAME).token_embedding.weight.is_meta


@pytest.mark.usefixtures("large")
def test_it_is_trained_in_float32_where_a_method_is_told_to_and_nowhere_else(file, tmp_path, small):
    clip, weight = opened(file)
    for run in ("full_finetune", "clip4clip_full", "bias", "mv_adapter"):
        methods.attach(clip, methods.load(run, config={}), shape=SHAPE)
        assert "clip.token_embedding.weight" not in clip.trained() and not weight.requires_grad
        clip.detach_all()
    method = methods.load("full_finetune", config={"train_large_table": True})
    methods.attach(clip, method, shape=SHAPE)
    assert clip.trained()["clip.token_embedding.weight"] is weight and weight.dtype == torch.float32
    assert frozen.reaches(clip)["text"].level == 0
    with torch.no_grad():
        weight.add_(1)
    header = {"run": "full_finetune", "config": stated(method), **checkpoint.described(clip)}
    header |= {"shape": {}, "train": {}, "dataset": "", "seed": 0}
    checkpoint.save(tmp_path / "a.safetensors", clip.trained(), header=header)
    moved = said(clip)
    clip.detach_all()
    assert torch.equal(said(clip), small[1])
    again = methods.load("full_finetune", config=checkpoint.read_header(tmp_path / "a.safetensors")["config"])
    checkpoint.load_into(methods.attach(clip, again, shape=SHAPE), tmp_path / "a.safetensors")
    assert torch.equal(said(clip), moved) and not torch.equal(moved, small[1])


def test_tables_of_clips_own_words_are_small_and_trained_as_before_and_their_adapters_say_no_word_more(file):
    clip, _ = opened(file)
    method = methods.load("full_finetune", config={})
    assert "clip.token_embedding.weight" in methods.attach(clip, method, shape=SHAPE).trained()
    assert stated(method) == {"which": "all", "train_logit_scale": True, "last_blocks": None}


def test_which_architectures_have_a_large_table():
    folder, large = Path(open_clip.__file__).with_name("model_configs"), set()
    for path in folder.glob("*.json"):
        text = json.loads(path.read_text())["text_cfg"]
        if table.small(text) is not text:
            large.add(path.stem)
        assert table.small(text) is text or "hf_tokenizer_name" in text, path
    assert {"ViT-B-16-SigLIP2", "ViT-gopt-16-SigLIP2-384", "ViT-B-16-SigLIP-i18n-256", "ViT-H-14-worldwide"} < large
    assert not {name for name in large if not any(word in name for word in ("SigLIP2", "i18n", "worldwide"))}
