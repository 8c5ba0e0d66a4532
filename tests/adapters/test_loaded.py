"""`pipeline.load`: an adapter as one object, on its backbone, from video files."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save

import pipeline
from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.clip import build
from pipeline.config.dataset import Clips, Frames
from pipeline.config.schema import Backbone
from pipeline.video.files import read_video
from tests.adapters.files import ROOT, SHAPE, TEXTS, write_adapter, write_backbone, write_videos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that a run leaves behind: params.yaml, the backbone, an adapter in its place."""
    folder = tmp_path_factory.mktemp("run")
    params = OmegaConf.load(ROOT / "params.yaml")
    params.backbone.weights = "work/weights.safetensors"
    OmegaConf.save(params, folder / "params.yaml")
    (folder / "work").mkdir()
    weights = write_backbone(folder / "work/weights.safetensors")
    for run, config in (("vop", {}), ("cm_adapter", {"pooling": "query"})):
        write_adapter(place(folder, run), weights, run, config, dataset="motion")
    write_videos(folder / "videos")
    return folder


def place(folder, run):
    (folder / f"runs/motion/clip-tiny/{run}/0").mkdir(parents=True, exist_ok=True)
    return folder / f"runs/motion/clip-tiny/{run}/0/adapter.safetensors"


def test_importing_the_package_imports_no_torch():
    subprocess.run(
        [sys.executable, "-c", "import pipeline, sys; assert callable(pipeline.load) and 'torch' not in sys.modules"], cwd=ROOT, check=True
    )


def test_an_adapter_in_its_place_needs_nothing_else(folder):
    model = pipeline.load(place(folder, "vop"), device="cpu")
    videos = sorted((folder / "videos").iterdir())
    encoder = Encoder(Backbone("clip-tiny", str(folder / "work/weights.safetensors")), device=torch.device("cpu"))
    encoder.add("it", place(folder, "vop"))
    seen = [read_video(path, clips=Clips(**SHAPE["clips"]), frames=Frames(number=4, size=64))[:2] for path in videos]
    frames, masks = (torch.from_numpy(np.stack([np.asarray(pair[part]) for pair in seen])) for part in (0, 1))
    np.testing.assert_array_equal(model.encode_videos(videos), encoder.videos("it", frames, masks).video, strict=True)
    np.testing.assert_array_equal(model.encode_texts(TEXTS), encoder.texts("it", TEXTS), strict=True)
    assert model.encode_videos([]).shape == (0, 128)
    assert model.header["run"] == "vop"


# As the code of commit 4f5bf1d wrote it, before architectures were data: no word on pictures, words or precision.
OLD = {
    "backbone": "clip-tiny",
    "commit": "4f5bf1d",
    "config": {"visual_prompts": 8, "text_prompts": 8, "specific": "none", "specific_prompts": 4, "context": "bilstm", "function": False}
    | {"shallow": None, "depth": None, "text_layout": "prefix", "std": 0.02, "last_blocks": None},
    "dataset": "motion",
    "dataset_fingerprint": {"train_videos": "0"},
    "run": "vop",
    "seed": 0,
    "shape": SHAPE,
    "train": {"epochs": 5, "batch": 32, "lr": 0.001, "clip_lr": 1e-05, "weight_decay": 0.2, "betas": [0.9, 0.98], "eps": 1e-06}
    | {"warmup": 0.1, "clip_norm": 1.0, "captions": "one", "select": "last", "validate_every": 1, "precision": "float32", "chunk": 0}
    | {"compile": False, "tf32": False, "deterministic": True, "optimiser": "adamw", "schedule": "cosine", "decay": "matrices"}
    | {"half": False, "gradient_gain": 1.0, "store": "auto", "text_store": "auto", "checkpointing": False},
}


def test_an_adapter_of_before_loads_and_gives_the_bits_of_one_of_today(folder, tmp_path):
    weights, digest = folder / "work/weights.safetensors", checkpoint.read_header(place(folder, "vop"))["backbone_digest"]
    old = json.dumps(OLD | {"backbone_digest": digest}, sort_keys=True)
    (tmp_path / "old.safetensors").write_bytes(save(load_file(place(folder, "vop")), metadata={"petl_vtr": old}))
    before, today = pipeline.load(tmp_path / "old.safetensors", weights, "cpu"), pipeline.load(place(folder, "vop"), device="cpu")
    videos = sorted((folder / "videos").iterdir())
    np.testing.assert_array_equal(before.encode_texts(TEXTS), today.encode_texts(TEXTS), strict=True)
    np.testing.assert_array_equal(before.encode_videos(videos), today.encode_videos(videos), strict=True)
    assert checkpoint.precision(before.header) == "float32"


def test_an_adapter_of_one_family_is_refused_on_another(folder, tmp_path):
    torch.manual_seed(0)
    torch.save(build("clip-tiny-pe").state_dict(), tmp_path / "pe.pt")
    with pytest.raises(ValueError, match=r"pe.pt does not hold the weights of clip-tiny: "):
        pipeline.load(place(folder, "vop"), tmp_path / "pe.pt", device="cpu")
    pe = Encoder(Backbone("clip-tiny-pe", str(tmp_path / "pe.pt")), device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"was trained on backbone clip-tiny \(\w+\), not on clip-tiny-pe \(\w+\); use that backbone or"):
        pe.add("vop", place(folder, "vop"))


def test_elsewhere_it_needs_weights(folder, tmp_path):
    shutil.copy(place(folder, "vop"), tmp_path / "vop.safetensors")
    with pytest.raises(ValueError, match="vop.safetensors does not lie in a runs/ folder .* clip-tiny; give weights"):
        pipeline.load(tmp_path / "vop.safetensors")
    weights = folder / "work/weights.safetensors"
    moved = pipeline.load(tmp_path / "vop.safetensors", weights, device="cpu")
    np.testing.assert_array_equal(moved.encode_texts(TEXTS), pipeline.load(place(folder, "vop"), device="cpu").encode_texts(TEXTS))


def test_another_backbone_a_weighing_method_and_a_file_that_is_no_video_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="was trained on backbone clip-tiny"):
        pipeline.load(place(folder, "vop"), write_backbone(tmp_path / "other.safetensors", seed=1), device="cpu")
    with pytest.raises(ValueError, match="weighs frames by each query"):
        pipeline.load(place(folder, "cm_adapter"), device="cpu").encode_texts(TEXTS)
    with pytest.raises(ValueError, match="params.yaml: "):
        pipeline.load(place(folder, "vop"), device="cpu").encode_videos([folder / "params.yaml"])


SAID = "mean (0.5, 0.5, 0.5), deviation (0.25, 0.5, 0.5), squash, bilinear"
KEYS = {"mean": [0.5] * 3, "std": [0.25, 0.5, 0.5], "resize": "squash", "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def seen(folder):
    """An adapter in its place that was trained with keys of the backbone, which the params.yaml there no longer has."""
    target = place(folder, "seen")
    return write_adapter(target, folder / "work/weights.safetensors", "vop", preprocessing=SAID)


def test_an_adapter_brings_the_keys_of_its_backbone(folder, seen):
    weights = folder / "work/weights.safetensors"
    encoder = Encoder(Backbone("clip-tiny", str(weights), **KEYS), device=torch.device("cpu"))
    encoder.add("it", seen)
    pictures = torch.randint(0, 256, (1, 4, 3, 64, 64), dtype=torch.uint8)
    wanted = encoder.videos("it", pictures, torch.ones(1, 4, dtype=torch.bool)).video
    for given in ({}, {"weights": weights}, {"weights": weights, **KEYS}, {"resize": "squash"}):
        model = pipeline.load(seen, device="cpu", **given)
        found = model._encoder.videos("adapter", pictures, torch.ones(1, 4, dtype=torch.bool)).video
        np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize(
    ("run", "keys", "said"),
    [
        ("seen", {"resize": "crop"}, r"was trained with mean \(0.5, .*, squash, bilinear, and clip-tiny has .*, crop, bilinear here; set"),
        (
            "seen",
            {"std": (0.5, 0.5, 0.5)},
            r"was trained with .*, and clip-tiny has .* deviation \(0.5, 0.5, 0.5\), squash, bilinear here;",
        ),
        ("vop", {"mean": [0.5] * 3}, r"was trained with mean \(0.48.*, and clip-tiny has mean \(0.5, .* here; set backbone.mean"),
        ("vop", {"tokenizer": "/a"}, r"backbone.tokenizer is '/a', but clip-tiny has CLIP's own tokeniser; leave it out"),
        ("vop", {"means": [0.5] * 3}, r"pipeline.load: unknown key 'means'; did you mean 'mean'\?"),
        ("vop", {"std": "wide"}, r"pipeline.load: .*std"),
    ],
)
@pytest.mark.usefixtures("seen")
def test_a_key_that_contradicts_an_adapter_is_one_sentence(folder, run, keys, said):
    with pytest.raises(ValueError, match=said) as caught:
        pipeline.load(place(folder, run), device="cpu", **keys)
    assert "\n" not in str(caught.value)


HEADERS = {
    "pictures": ({"preprocessing": "blue"}, "preprocessing is 'blue'; it takes mean, deviation, and how a picture is resized"),
    "pictures are a number": ({"preprocessing": 5}, "preprocessing is 5; it takes text"),
    "tokeniser": ({"tokenizer": "gemma"}, "tokenizer is 'gemma'; it takes keys with values"),
    "unknown key": ({"config": {"uext_prompts": 4}}, "config: unknown key 'uext_prompts'; did you mean 'text_prompts'?"),
    "type in config": ({"config": {"text_prompts": "many"}}, "config: Value 'many'"),
    "value in config": ({"config": {"text_prompts": -3}}, ""),
    "size in config": ({"config": {"text_prompts": 10**15}}, ""),
    "config is a list": ({"config": [1, 2]}, "config is [1, 2]; it takes keys with values"),
    "no config": ({"config": None}, "its header lacks config"),
    "no backbone and seed": ({"backbone": None, "seed": None}, "its header lacks seed, backbone"),
    "seed is a word": ({"seed": "zero"}, "seed is 'zero'; it takes a whole number"),
    "seed is true": ({"seed": True}, "seed is True; it takes a whole number"),
    "seed is long": ({"seed": 10**30}, "seed is 1e+30, which no random generator takes"),
    "run": ({"run": "vpo"}, "unknown method 'vpo'; did you mean 'vop'?"),
    "run is a number": ({"run": 7}, "run is 7; it takes text"),
    "backbone": ({"backbone": "glip-tiny"}, "backbone.name: open_clip has no model 'glip-tiny'"),
    "digest": ({"backbone_digest": ["x" * 99]}, "backbone_digest is ['xxx"),
    "train": ({"train": {"lrr": 1}}, "train: unknown key 'lrr'; did you mean 'lr'?"),
    "type in train": ({"train": {"lr": "fast"}}, "train: Value 'fast'"),
    "shape": ({"shape": SHAPE | {"words": 1}}, "shape: words is 1; the least is 3"),
    "words": ({"shape": SHAPE | {"words": 999}}, "dataset.words is 999"),
    "no clips": ({"shape": {"frames": {}, "words": 12}}, "its header lacks shape: clips"),
    "frames are a word": ({"shape": SHAPE | {"frames": "four"}}, "shape: "),
}


@pytest.mark.parametrize("wrong", HEADERS)
def test_whatever_is_wrong_with_a_header_is_a_sentence_that_names_the_file(folder, tmp_path, wrong):
    changes, what = HEADERS[wrong]
    weights = folder / "work/weights.safetensors"
    path, good = tmp_path / "bad.safetensors", place(folder, "vop")
    header = {key: value for key, value in (checkpoint.read_header(good) | changes).items() if value is not None}
    checkpoint.save(path, load_file(good), header=header)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {what}")) as caught:
        pipeline.load(path, weights=weights, device="cpu")
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)
    assert str(caught.value).endswith("train it again") and len(str(caught.value)) < 900


@pytest.mark.parametrize("header", ["[]", "5", "null", '"run"', "{", "[" * 100_000, '{"run": "vop"}'])
def test_a_header_that_is_no_object_is_a_sentence_too(folder, tmp_path, header):
    (tmp_path / "bad.safetensors").write_bytes(save({}, metadata={checkpoint.KEY: header}))
    with pytest.raises(ValueError, match=r"bad\.safetensors.*; train it again"):
        pipeline.load(tmp_path / "bad.safetensors", weights=folder / "work/weights.safetensors", device="cpu")
