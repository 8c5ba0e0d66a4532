"""The examples keep their word: each is run on a stand-in, and what its page types, names and expects is there."""

import importlib.util
import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import datasets, methods
from pipeline.adapters import checkpoint
from pipeline.config import papers, registry, resolve
from pipeline.config.dataset import Dataset
from pipeline.config.params import known_files, load_params
from pipeline.config.schema import Score
from pipeline.datasets import folder, msrvtt
from pipeline.datasets.annotations.splits import exclude
from pipeline.evaluation.embed import embed
from pipeline.evaluation.metrics import wilson
from pipeline.evaluation.score import score
from tests.conftest import SMALL, make_batch, small_clip
from tests.methods import test_contract as contract
from tests.training.planted import fit, planted

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/params.yaml"))
ZERO, TRAIN, OWN = (EXAMPLES / name for name in ("msrvtt-zero-shot", "msrvtt-vit-b32-mv-adapter", "own-videos"))


def test_each_example_has_a_page_that_the_list_names():
    listed = re.findall(r"^\| \[([\w./-]+)\]\(", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE)
    there = {f"{path.name}/" for path in EXAMPLES.iterdir() if path.is_dir() and (path / "README.md").is_file()}
    assert sorted(listed) == sorted({*there, "attach_in_your_loop.py"})


@pytest.mark.parametrize("place", FOLDERS, ids=lambda place: place.name)
def test_its_settings_are_right_and_its_page_types_its_own_folder(place):
    params = load_params(place / "params.yaml")
    known_files(params, EXAMPLES.parent / "pipeline")
    assert set(params.run.methods) <= set(params.methods) and params.method in params.run.methods
    page = (place / "README.md").read_text()
    assert f"snakemake -s Snakefile --directory examples/{place.name} --cores all" in page
    assert set(re.findall(r"(?<=examples/)[\w-]+(?=/| --cores)", page)) == {place.name}


def trained(place, tmp_path, **smaller):
    """Every run of an example that trains, an epoch on the small CLIP, with its own settings of method and training."""
    params = load_params(place / "params.yaml")
    (dataset,) = params.run.datasets
    for run in (name for name in params.run.methods if name != "zero_shot"):
        found = resolve.training(params, run, dataset)
        keys = {key: getattr(found.train, key) for key in ("lr", "clip_lr", "optimiser", "schedule", "decay", "half", "select", "captions")}
        name = registry.method_of(run)
        _, tensors, progress = fit(
            name, tmp_path, state=f"{run}.pt", config=found.config | smaller.get(name, {}), **keys, epochs=1, gallery=8
        )
        assert tensors and all(torch.isfinite(tensor).all() for tensor in tensors.values()), run
        assert math.isfinite(progress.epochs[-1]["loss"])
        yield run


def small_msrvtt(target, *, tested):
    """Annotations in MSR-VTT's form: 20 videos, the last `tested` of which are those of 1k-A, under the publisher's names."""
    names = [*range(8), *range(6513, 6519), *range(7010, 7010 + tested)]
    kind = {**dict.fromkeys(names[:8], "train"), **dict.fromkeys(names[8:14], "validate")}
    videos = [
        {"video_id": f"video{n}", "split": kind.get(n, "test"), "url": "https://y/x", "start time": 0, "end time": 2.0} for n in names
    ]
    sentences = [
        {"video_id": f"video{n}", "caption": f"{n} does {k}", "sen_id": 20 * i + k} for i, n in enumerate(names) for k in range(20)
    ]
    target.mkdir(exist_ok=True)
    (target / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    lines = "".join(f'ret{i},msr{n},video{n},"thing {n}, and more"\r\n' for i, n in enumerate(names[14:]))
    (target / "MSRVTT_JSFUSION_test.csv").write_text(f"key,vid_key,video_id,sentence\r\n{lines}")
    return target


def test_the_anchor_leaves_out_what_it_does_not_need(tmp_path):
    raw = small_msrvtt(tmp_path / "raw", tested=6)
    said = subprocess.run(
        ["bash", ZERO / "leave-out.sh", raw / "MSRVTT_JSFUSION_test.csv"], check=True, capture_output=True, text=True
    ).stdout
    lines = said.splitlines()
    assert lines[0] == "video_id\treason" and len(lines) - 1 == 10_000 - 6 - 15
    # The list names all 10,000; of the stand-in's 20 it leaves the tested, ten to train on, five to validate on.
    videos, _ = msrvtt.tables(raw, Dataset(variant="9k"), "msrvtt")
    (tmp_path / "left-out.tsv").write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if line.split("\t")[0] in set(videos["video_id"]))])
    )
    kept = exclude(videos, tmp_path / "left-out.tsv", name="msrvtt").query("excluded == ''")
    assert kept["split"].value_counts().to_dict() == {"train": 8, "test": 6, "val": 5}
    assert "8,985 of 10,000" in (ZERO / "README.md").read_text() and 10_000 - 1_000 - 15 == 8_985


def test_the_anchor_is_scored_and_expects_what_papers_print():
    clip = methods.attach(small_clip(), methods.load("zero_shot", config={}), shape=methods.Shape(4, 12))
    found = score(embed(clip, planted(clip, videos=12, captions=1), device=torch.device("cpu")), settings=Score(bootstrap=100))
    assert found["gallery"] == 12 and 0 <= found["t2v"]["R1_ci"][0] <= found["t2v"]["R1"] <= found["t2v"]["R1_ci"][1] <= 100
    page = (ZERO / "README.md").read_text()
    for source, paper in (("DRL", "clip4clip"), ("VoP, table 2", "vop")):
        (row,) = (line for line in page.splitlines() if line.startswith("|") and source in line)
        cells = [float(cell) for cell in row.split("|")[2:-1] if cell.strip()]
        wanted = {
            (cell.direction, cell.metric): cell.value
            for cell in papers.load()
            if (cell.paper, cell.run, cell.dataset) == (paper, "zero_shot", "msrvtt")
        }
        ways = [(way, name) for way in ("t2v", "v2t") for name in ("R1", "R5", "R10", "MnR") if (way, name) in wanted]
        assert cells == [wanted[place] for place in ways] and len(cells) >= 4
    low, high = (100 * end for end in wilson(0.311, trials=1000, confidence=0.95))
    assert f"{low:.1f} to {high:.1f}" in page


def test_methods_on_msrvtt_train_as_the_example_has_them(tmp_path):
    assert list(trained(TRAIN, tmp_path)) == ["vop", "mv_adapter", "clip4clip_full@paper"]
    params = load_params(TRAIN / "params.yaml")
    assert params.datasets["msrvtt"].validation == "clean" and len(params.search.gains) == 4, (
        "all methods are searched alike, on validation"
    )


def test_own_videos_are_found_and_train(tmp_path):
    lines = (OWN / "captions.csv").read_text().splitlines()[1:]
    for name in {line.split(",")[0] for line in lines}:
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / f"videos/{name}.mp4").write_bytes(b"x")
    entry = load_params(OWN / "params.yaml").datasets["mine"]
    here = Dataset(videos=str(tmp_path / entry.videos), captions=str(OWN / entry.captions))
    videos, captions = folder.tables(tmp_path, here, "mine")
    datasets.check(videos, captions, name="mine")
    assert len(captions) == len(lines) and set(videos["split"]) == {"train", "val", "test"}
    assert list(trained(OWN, tmp_path)) == ["mv_adapter"]


def loaded(path, name):
    """A file of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_method_attached_in_a_loop_learns_and_its_file_is_an_adapter(tmp_path, capsys, monkeypatch):
    example = loaded(EXAMPLES / "attach_in_your_loop.py", "attach_in_your_loop")
    create = example.open_clip.create_model
    monkeypatch.setattr(example.open_clip, "create_model", lambda name, pretrained: example.open_clip.CLIP(**SMALL))  # noqa: ARG005
    out = tmp_path / "mine.safetensors"
    monkeypatch.setattr(sys, "argv", ["attach_in_your_loop.py", "--steps", "12", "--out", str(out)])
    example.main()
    assert {"pretrained"} <= inspect.signature(create).parameters.keys()
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) == 12 and losses[-1] < losses[0] / 2
    assert "4 of 4 captions find their video" in said
    header = checkpoint.read_header(out)
    assert checkpoint.parts(header, out).shape.frames.size == SMALL["vision_cfg"]["image_size"]
    assert (header["run"], header["backbone"]) == ("mv_adapter", "ViT-B-32-quickgelu")


NEW = EXAMPLES / "new_method"


@pytest.fixture
def added(monkeypatch):
    """The new method, as if its file lay where its page copies it to."""
    file = NEW / "clip_adapter.py"
    monkeypatch.setitem(sys.modules, "pipeline.methods.clip_adapter", loaded(file, "pipeline.methods.clip_adapter"))
    monkeypatch.setitem(registry.entries(), "clip_adapter", registry.entries(NEW)["clip_adapter"])
    return "clip_adapter"


@pytest.mark.usefixtures("added")
def test_its_own_tests_pass():
    module, ran = loaded(NEW / "test_clip_adapter.py", "tests.methods.test_clip_adapter"), 0
    for test in (thing for name, thing in vars(module).items() if name.startswith("test_")):
        (cases, *_) = [mark.args[1] for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"] or [[()]]
        for case in cases:
            test(*case)
            ran += 1
    assert ran == 6


def test_it_fulfils_the_contract_and_trains(added, tmp_path):
    case, batch = (added, {}, "plain"), make_batch()
    contract.test_equals_clip_before_training_bit_for_bit(case, batch)
    contract.test_every_trainable_entry_gets_gradient_or_is_named_as_dead_and_no_other_tensor_moves(case, batch)
    contract.test_batch_order_padding_and_batch_size_never_change_an_embedding(case, batch)
    contract.test_the_order_of_frames_matters_exactly_for_those_that_say_so(case, batch)
    contract.test_checkpoint_holds_what_was_trained_and_what_it_needs_beside_it_and_round_trips(case, batch, tmp_path)
    contract.test_detaching_gives_clip_back_bit_for_bit(case, batch)
    _, tensors, progress = fit(added, tmp_path, epochs=1, gallery=8)
    assert len(tensors) == 8 and math.isfinite(progress.epochs[0]["loss"])
    page = (NEW / "README.md").read_text()
    assert {f"cp examples/new_method/{path.name}" for path in NEW.glob("*.py")} == set(re.findall(r"cp examples/\S+", page))
