"""The store of each run is known before anything runs, and a store that a method may not use is refused."""

import json
import re

import pytest
import torch

from pipeline.config import resolve
from pipeline.config.params import check
from pipeline.rules import plan
from pipeline.stages import frozen

PARAMS = {
    "run": {"datasets": ["motion"], "methods": ["zero_shot", "partial", "vop"], "seeds": [0]},
    "datasets": {"motion": {"frames": {"number": 4, "size": 64}, "words": 24}},
    "backbone": {"name": "clip-tiny", "weights": "w.pt"},
    "methods": {"zero_shot": {}, "partial": {}, "vop": {}},
}


def chosen(**methods):
    return plan.choices(check(PARAMS | {"methods": PARAMS["methods"] | methods}))


def in_this_process(questions):
    """The stage's answer, without the seconds that a process of its own takes to begin; the first test starts one."""
    with torch.device("meta"):
        return [frozen._reaches(**question) for question in questions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_auto_is_the_deepest_store_and_what_is_never_encoded_is_not_stored():
    found = chosen()
    assert (found["zero_shot", "motion"].video, found["zero_shot", "motion"].text) == ("all", "all")
    assert found["zero_shot", "motion"].of("train").video == "clips"
    assert found["zero_shot", "motion"].of("test").video == "all"
    assert (found["partial", "motion"].video, found["partial", "motion"].of("train").text) == ("3", "3")
    assert (found["vop", "motion"].video, found["vop", "motion"].text) == ("frames", "captions")


def test_answers_are_asked_for_once(monkeypatch):
    first = chosen()
    monkeypatch.setattr(plan, "_ask", lambda questions: pytest.fail(f"asked again: {questions}"))
    assert chosen() == first
    assert json.loads(plan.KNOWN.read_text())


def test_a_shallower_store_may_be_asked_for():
    found = chosen(partial={"train": {"store": "2", "text_store": "captions"}}, vop={"train": {"store": "clips"}})
    assert (found["partial", "motion"].video, found["partial", "motion"].text) == ("2", "captions")
    assert found["vop", "motion"].video == "clips"


@pytest.mark.parametrize(
    ("method", "train", "sentence"),
    [
        (
            "partial",
            {"store": "4"},
            r"methods.partial.train: store is 4, but block 3 \(of 0 to 3\) of the vision tower is changed by training",
        ),
        (
            "partial",
            {"text_store": "all"},
            "methods.partial.train: text_store is all, but block 3 .* of the text tower .*3 blocks or fewer",
        ),
        (
            "vop",
            {"store": "1"},
            "store is 1, but the embedding of the vision tower is changed by adapter.visual_prompts .*none of the stored",
        ),
        ("partial", {"store": "9"}, "store is 9; the backbone has 4 blocks there: use 1 to 4, all, frames, clips or auto"),
        ("partial", {"store": "frame"}, "store is 'frame'; choose one of auto, frames, clips, all, or a number of blocks"),
        ("partial", {"store": "captions"}, "store is 'captions'"),
    ],
)
def test_a_store_that_the_method_may_not_use_is_one_sentence(method, train, sentence):
    with pytest.raises(ValueError, match=sentence):
        chosen(**{method: {"train": train}})


EXTRA = {"motion": "frames.csv"}


def test_a_file_of_captions_of_frames_sets_the_method_that_reads_them(monkeypatch):
    monkeypatch.setattr(plan, "_ask", in_this_process)
    params = check(
        PARAMS | {"methods": PARAMS["methods"] | {"discovla": {"captions_extra": EXTRA}, "discovla@plain": {"train": {"lr": 1}}}}
    )
    found = plan.choices(params)
    assert not found["discovla", "motion"].problem and not found["discovla@plain", "motion"].problem
    assert [resolve.extra_of(params, run, "motion") for run in ("discovla", "discovla@plain", "vop")] == ["frames.csv", "", ""]
    assert resolve.training(params, "discovla", "motion").config == {"captions_extra": True}
    assert resolve.training(params, "discovla@plain", "motion").config == {}


@pytest.mark.parametrize(
    ("run", "entry", "sentence"),
    [
        (
            "discovla@paper",
            {},
            r"params.yaml: methods.discovla@paper on motion: config.captions_extra is true, and no file of them is given",
        ),
        ("discovla", {"config": {"captions_extra": True}}, "is true, and no file of them is given; set it to false"),
        (
            "discovla",
            {"config": {"captions_extra": False}, "captions_extra": EXTRA},
            "is false, and frames.csv is given for it; set it to true, or change captions_extra of the run",
        ),
    ],
)
def test_captions_of_frames_that_are_asked_for_and_not_given_are_one_sentence(monkeypatch, run, entry, sentence):
    monkeypatch.setattr(plan, "_ask", in_this_process)
    assert re.search(sentence, chosen(**{run: entry})[run, "motion"].problem)


def test_a_method_that_cannot_be_attached_stops_the_plan(monkeypatch):
    monkeypatch.setattr(plan, "_ask", in_this_process)
    sentence = "params.yaml: methods.partial on motion: last_blocks is 9; the vision tower has 4 blocks"
    with pytest.raises(ValueError, match=sentence):
        chosen(partial={"config": {"last_blocks": 9}})
    other = chosen(lora={"config": {"last_blocks": 9}})  # which the plan does not ask for
    assert "last_blocks is 9" in other["lora", "motion"].problem and not other["vop", "motion"].problem
