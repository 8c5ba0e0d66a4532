"""Sizes of towers from configurations: parameters of models of every kind, and the work that torch counts."""

import pytest
import torch

from pipeline.clip import FrozenClip, build
from pipeline.cost import measure
from pipeline.rules import towers

# Sizes that timm's names say and configurations of open_clip do not: each of `towers.SIZES` once.
BY_NAME = ("PE-Core-T-16-384", "PE-Core-S-16-384", "MobileCLIP2-B", "PE-Core-L-14-336", "ViT-SO400M-14-SigLIP2", "EVA01-g-14")
BY_NAME += ("ViT-gopt-16-SigLIP2-256", "PE-Core-bigG-14-448")


@pytest.mark.parametrize("name", ["clip-tiny", "clip-tiny-siglip", "clip-tiny-pe", "ViT-B-32-quickgelu", *BY_NAME])
def test_the_parameters_of_a_backbone(name):
    with torch.device("meta"):
        counted = sum(p.numel() for p in build(name).parameters())
    assert towers.parameters(towers.architecture(name)) == pytest.approx(counted, rel=0.025)


@pytest.mark.parametrize(("name", "nearly"), [("clip-tiny", 0), ("clip-tiny-siglip", 0.05), ("clip-tiny-pe", 0.05)])
def test_the_work_of_a_pass_is_what_torch_counts_but_for_a_pool(name, nearly):
    clip = FrozenClip(build(name), name=name)
    words = clip.context_length
    counted = measure.macs(clip, num_frames=3, num_words=words, device=torch.device("cpu"))
    video, caption = towers.work(towers.architecture(name), frames=3, words=words)
    assert video == pytest.approx(counted["macs_per_video"], rel=nearly)
    assert caption == pytest.approx(counted["macs_per_caption"], rel=nearly)


def test_the_work_of_clip_is_what_papers_print():
    video, caption = towers.work(towers.architecture("ViT-B-32-quickgelu"), frames=12, words=32)
    assert (round(video / 1e9, 1), round(caption / 1e9, 2)) == (52.9, 1.22)


def test_an_unknown_backbone_and_a_resnet_have_no_work():
    assert towers.parameters(towers.architecture("no-such")) == 0
    assert towers.work(towers.architecture("no-such"), frames=12, words=32) == (0, 0)
    assert towers.work(towers.architecture("RN50"), frames=12, words=32)[1] > 0
