"""The disk that a plan takes: exact where sizes follow from shapes, and the sentence of a disk that is too small."""

from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.rules.doctor import disk
from pipeline.rules.plan import Choice
from pipeline.rules.towers import architecture, vision_of

Usage = namedtuple("Usage", "total used free")
MSRVTT = ("run.datasets=[msrvtt]", "backbone.name=ViT-B-32-quickgelu", "datasets.msrvtt.words=32")


def sums(case):
    """Bytes below the first two folders of each path."""
    found = {}
    for part in disk.planned(case, case.params):
        key = "/".join(part.path.parts[:2])
        found[key] = found.get(key, 0) + part.bytes
    return found


def chosen(video, text="captions", dataset="msrvtt"):
    return {(run, dataset): Choice(video, text) for run in ("zero_shot", "full_finetune", "vop", "mv_adapter")}


@pytest.mark.parametrize(
    ("video", "text", "gigabytes"),
    [("frames", "captions", 18.1), ("4", "captions", 9.2), ("12", "captions", 0.4), ("all", "captions", 0.4), ("clips", "captions", 0)],
)
def test_stores_take_what_the_page_of_caches_says(case, video, text, gigabytes):
    found = sums(case(*MSRVTT, "datasets.msrvtt.frames.number=12", choices=chosen(video, text)))
    assert found.get("work/msrvtt", 0) / 1e9 == pytest.approx(gigabytes, abs=0.06)


def test_stores_of_captions_count_the_publishers_captions(case):
    found = sums(case(*MSRVTT, choices=chosen("clips", "4")))
    assert 5.5e9 < found["work/msrvtt"] < 7e9


def test_where_nothing_is_known_frames_are_stored(case):
    assert sums(case())["work/motion"] == 58 * 4 * 3 * 64**2


def test_what_is_there_is_not_planned_again(case, folder):
    before = sums(case())
    assert all(before.values())
    for path in ("data/motion/raw", "data/motion/clips"):
        (folder / path).mkdir(parents=True)
        (folder / path / "x").touch()
    (folder / "work/motion/train").mkdir(parents=True)
    (folder / "work/motion/train/frames.h5").write_bytes(bytes(1000))
    for run in ("zero_shot", "full_finetune", "vop", "mv_adapter"):
        made = folder / f"runs/motion/clip-tiny/{run}/0"
        made.mkdir(parents=True)
        (made / "adapter.safetensors").touch()
    after = sums(case())
    assert after["data/motion"] == after["runs/motion"] == after["runs"] == 0
    assert after["work/motion"] == before["work/motion"] - 1000


def test_an_adapter_of_most_of_clip_is_as_large_as_clip(case):
    many = {"choices": {(run, "motion"): Choice("frames", "captions", whole=run == "mv_adapter") for run in ("vop", "mv_adapter")}}
    sizes = {part.path.parts[3]: part.bytes for part in disk.planned(case(**many), case().params) if len(part.path.parts) > 4}
    assert sizes["mv_adapter"] == 10 * sizes["vop"]
    assert sizes["full_finetune"] == sizes["mv_adapter"]  # of which nothing is known but that it sets clip_lr


def test_only_what_is_going_to_run_takes_disk(case):
    assert sums(case(jobs=frozenset({"train"}))).keys() == {"runs/motion", "runs"}
    assert sums(case(jobs=frozenset({"frames"}))).keys() == {"work/motion"}


def test_a_disk_that_is_too_small_is_named_with_its_folders(case, said, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(0, 0, 1e6))
    [(state, text)] = said(disk.disk, case())
    assert state == "warning" and text.startswith("data, work, runs: about ") and "1.0 MB free" in text and "make room" in text
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(0, 0, 1e12))
    assert said(disk.disk, case())[0][0] == "fine"


def test_a_folder_on_another_disk_has_a_line_of_its_own(case, said, folder):
    shared = Path("/dev/shm")
    if shared.stat().st_dev == folder.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    (folder / "runs").symlink_to(shared)
    assert [text.split(":")[0] for text in said(disk.disk, case(), "fine")] == ["data, work", "runs"]


@pytest.mark.parametrize(("name", "tokens"), [("ViT-SO400M-14-SigLIP2", 256), ("PE-Core-B-16", 197), ("clip-tiny-siglip", 16)])
def test_stores_of_towers_that_timm_made_are_exact(case, name, tokens):
    width = 128 if "tiny" in name else vision_of(architecture(name))["width"]
    backbone = (f"backbone.name={name}", "datasets.motion.frames.number=3")
    assert sums(case(*backbone, choices=chosen("2", dataset="motion")))["work/motion"] == 58 * 3 * tokens * width * 2
    assert sums(case(*backbone, choices=chosen("all", dataset="motion")))["work/motion"] == 58 * 3 * width * 4


def test_an_unknown_backbone_takes_no_part(case):
    assert sums(case("backbone.name=no-such"))["runs/motion"] == 0
    assert sums(case("backbone.name=no-such", choices=chosen("4", "4", "motion")))["work/motion"] == 0
