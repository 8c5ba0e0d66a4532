"""The tiny CLIP of DVC's stage: dvc.yaml and params.yaml name the same one."""

from pathlib import Path

import pytest
import yaml

from pipeline.config import registry
from pipeline.rules import pretrained

DVC = Path(__file__).parents[2] / "dvc.yaml"


def test_dvc_pretrains_the_tiny_clip_that_its_head_names():
    content = yaml.safe_load(DVC.read_text())
    assert {"pretrained": "clip-tiny"} in content["vars"]
    stage = content["stages"]["backbone"]
    assert stage["cmd"].endswith(" work/${pretrained}/weights.safetensors") and stage["outs"] == ["work/${pretrained}/weights.safetensors"]
    assert {f"pipeline/clip/{name}.json" for name in registry.tiny()} <= set(stage["deps"])


def test_another_one_is_refused_with_the_line_to_set_and_backbones_with_weights_are_not(tmp_path):
    for backbone in ("clip-tiny", "ViT-B-32-quickgelu"):
        pretrained.refuse(backbone, DVC)
    with pytest.raises(ValueError, match=r"is clip-tiny-pe, but DVC would pretrain clip-tiny; set `pretrained: clip-tiny-pe` at the head"):
        pretrained.refuse("clip-tiny-pe", DVC)
    (tmp_path / "dvc.yaml").write_text(DVC.read_text().replace("pretrained: clip-tiny ", "pretrained: clip-tiny-pe "))
    pretrained.refuse("clip-tiny-pe", tmp_path / "dvc.yaml")
    pretrained.refuse("clip-tiny-pe", tmp_path / "none.yaml")
