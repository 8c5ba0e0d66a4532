"""`pipeline.load`: an adapter as one object, on its backbone, from video files."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import pipeline
from pipeline.adapters.encoder import Encoder
from pipeline.config.dataset import Clips, Frames
from pipeline.config.schema import Backbone
from pipeline.video.files import read_video
from tests.adapters.files import ROOT, SHAPE, TEXTS, write_adapter, write_backbone, write_videos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a run leaves behind: params.yaml, the backbone, an adapter in its place."""
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
