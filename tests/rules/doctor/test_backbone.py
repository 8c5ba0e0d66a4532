"""The weights of the backbone: a file, a tag that is kept here, and one that can or cannot be fetched."""

import open_clip
import pytest
import requests
from huggingface_hub import constants

from pipeline.clip import loading
from pipeline.rules.doctor import backbone

OPENAI = ("backbone.name=ViT-B-32-quickgelu", "backbone.weights=openai")
REPOSITORY = "models--timm--vit_base_patch32_clip_224.openai"


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch):
    """Empty caches, and no network: the addresses that are asked for, each of which raises what `asked.raises` has."""

    class Asked(list):
        raises = requests.ConnectionError

    found = Asked()

    def head(url, timeout):
        found.append((url, timeout))
        if found.raises:
            raise found.raises

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return found


def test_the_place_of_every_tag_is_open_clips():
    known = open_clip.list_pretrained()
    assert len(known) > 150
    for name, tag in known:
        place = loading.place(name, tag)
        assert backbone.places(name)[tag] == (place if "://" in place else f"{constants.ENDPOINT}/{place}")
    assert backbone.places("nothing") == {}


def test_what_cannot_be_fetched_stops_the_jobs_that_read_it(case, said, asked):
    ((state, text),) = said(backbone.weights, case(*OPENAI))
    assert state == "stop" and "'openai' of ViT-B-32-quickgelu are not here" in text and "does not answer (ConnectionError)" in text
    assert "set backbone.weights to its path" in text
    assert asked == [(f"{constants.ENDPOINT}/timm/vit_base_patch32_clip_224.openai", 2.0)]
    # What reads no backbone goes on; nodes of a cluster may have another way out.
    for others in ({"jobs": frozenset({"download"})}, {"slurm": True}):
        assert [state for state, _ in said(backbone.weights, case(*OPENAI, **others))] == ["warning"]


def test_offline_is_not_asked(case, said, asked, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in said(backbone.weights, case(*OPENAI), "stop")[0]
    assert not asked


@pytest.mark.parametrize("raised", [None, requests.Timeout])
def test_what_answers_or_is_slow_is_fetched_by_a_job(case, said, asked, raised):
    asked.raises = raised
    (text,) = said(backbone.weights, case(*OPENAI), "fine")
    assert "the first job that needs them fetches them from" in text
    assert "on a node that needs internet" in said(backbone.weights, case(*OPENAI, slurm=True), "fine")[0]


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_what_the_hub_keeps_is_not_asked_for(case, said, asked, tmp_path, name):
    snapshot = tmp_path / "hub" / REPOSITORY / "snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    assert said(backbone.weights, case(*OPENAI), "stop") and len(asked) == 1
    (snapshot / name).touch()
    assert str(snapshot / name) in said(backbone.weights, case(*OPENAI), "fine")[0]
    assert len(asked) == 1


def test_what_open_clip_keeps_of_other_addresses_is_found(tmp_path):
    address = "https://example.org/0123/ViT-B-32.pt"
    assert backbone.cached(address) is None
    (tmp_path / ".cache/clip").mkdir(parents=True)
    (tmp_path / ".cache/clip/ViT-B-32.pt").touch()
    assert backbone.cached(address) == tmp_path / ".cache/clip/ViT-B-32.pt"


def test_a_file_is_there_or_not_and_the_workflow_makes_its_own(case, said, folder):
    named = ("backbone.name=ViT-B-32", "backbone.weights=clip/here.pt")
    assert "no file 'clip/here.pt'; put the checkpoint of ViT-B-32 there" in said(backbone.weights, case(*named), "stop")[0]
    (folder / "clip").mkdir()
    (folder / "clip/here.pt").write_bytes(b"0" * 2000)
    assert "2.0 kB" in said(backbone.weights, case(*named), "fine")[0]
    assert "is pretrained by the workflow" in said(backbone.weights, case(), "fine")[0]


def test_a_tag_that_open_clip_has_not_is_told_with_those_that_it_has(case, said, asked):
    (text,) = said(backbone.weights, case("backbone.name=ViT-B-32", "backbone.weights=opanai"), "stop")
    assert "open_clip has no weights 'opanai' for ViT-B-32; it has openai, laion400m_e31" in text
    assert said(backbone.weights, case("backbone.name=ViT-B", "backbone.weights=openai")) == []
    assert not asked
    asked.raises = None
    assert said(backbone.weights, case("backbone.name=ViT-B-32", "backbone.weights=LAION2B-s34b-b79k"), "fine")
