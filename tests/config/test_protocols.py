"""The choices that a paper makes for a dataset are data; params.yaml overrides it, and the words of the field name the datasets."""

import pytest
import yaml

from pipeline.config.params import check
from pipeline.core.code import ROOT
from pipeline.video.grid import GRIDS


def configured(datasets, run=("MSR-VTT",)):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["run"]["datasets"], values["datasets"] = list(run), datasets
    return check(values).datasets


@pytest.mark.parametrize(
    ("word", "name"), [("MSR-VTT", "msrvtt"), ("MSVD", "msvd"), ("LSMDC", "lsmdc"), ("DiDeMo", "didemo"), ("ActivityNet", "activitynet")]
)
def test_the_word_of_a_benchmark_is_enough(word, name):
    entry = configured({}, run=[word])[name]
    paragraph = name in ("didemo", "activitynet")
    assert (entry.words, entry.frames.number, entry.captions_as) == ((64, 64, "paragraph") if paragraph else (32, 12, "published"))
    assert (entry.protocol, entry.validation, entry.frames.grid) == ("default", "clean", "centres")
    assert entry.clips.seconds == (30 if name == "didemo" else 0)


def test_a_new_dataset_has_the_lengths_of_our_protocol_and_its_defaults_under_a_papers():
    entry = configured({}, run=["RTime"])["rtime"]
    assert (entry.words, entry.frames.number, entry.captions_as) == (64, 12, "published")


# words and frames of specs: CLIP4Clip's README, MV-Adapter's configurations, VoP's paper.
PAPERS = {
    "clip4clip": {"short": (32, 12), "long": (64, 64), "grid": "clip4clip"},
    "mv_adapter": {"short": (32, 12), "long": (64, 32), "grid": "mv_adapter"},
    "vop": {"short": (69, 12), "long": (69, 12), "grid": "xpool"},
}


@pytest.mark.parametrize("protocol", PAPERS)
@pytest.mark.parametrize("name", ["msrvtt", "msvd", "lsmdc", "didemo", "activitynet"])
def test_each_paper_has_its_words_frames_and_grid(protocol, name):
    entry = configured({name: {"protocol": protocol}}, run=[name])[name]
    length = "long" if name in ("didemo", "activitynet") else "short"
    assert (entry.words, entry.frames.number) == PAPERS[protocol][length]
    assert (entry.frames.grid, entry.validation) == (PAPERS[protocol]["grid"], "paper")
    assert entry.frames.grid in GRIDS and entry.frames.size == 224


def test_params_override_a_protocol_value_by_value():
    entry = configured({"DiDeMo": {"protocol": "clip4clip", "frames": {"number": 16}}}, run=["didemo"])["didemo"]
    assert (entry.frames.number, entry.frames.grid, entry.words) == (16, "clip4clip", 64)


@pytest.mark.parametrize(
    ("datasets", "sentence"),
    [
        ({"msrvtt": {"protocol": "clip2clip"}}, r"datasets.msrvtt: unknown protocol 'clip2clip'; did you mean 'clip4clip'\?"),
        ({"msrvtt": {}, "MSR-VTT": {}}, "datasets has msrvtt and MSR-VTT, which are the same; keep one"),
        ({"msrvtt": {"validation": "clear"}}, "datasets.msrvtt: validation is 'clear'; choose one of clean, paper"),
        ({"msrvtt": {"wrods": 3}}, "datasets.msrvtt: unknown key 'wrods'; did you mean 'words'"),
        ({"msrvtt": 3}, "datasets"),
        ({"mine": {"captions": "a.csv"}}, "datasets.mine: captions is set, and videos is not"),
        ({"a/b": {"captions": "a.csv", "videos": "b"}}, "datasets.a/b cannot be a folder's name"),
    ],
)
def test_a_contradiction_is_one_sentence(datasets, sentence):
    with pytest.raises(ValueError, match=sentence):
        configured(datasets)


def test_what_is_trained_on_does_not_choose_the_checkpoint():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["run"]["datasets"], values["datasets"] = ["msrvtt"], {"msrvtt": {"protocol": "clip4clip"}}
    check(values)
    values["train"]["select"] = "best"
    with pytest.raises(ValueError, match="choose on validation videos, which datasets.msrvtt.validation: paper trains on"):
        check(values)
