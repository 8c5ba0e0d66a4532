"""The chain from the numbers of a run back to what made them: whole, changed at each link, and with files that are not here."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
import yaml

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.config.params import check
from pipeline.config.parse import stated
from pipeline.config.resolve import training
from pipeline.core import record
from pipeline.core.files import read_json, write_json
from pipeline.reporting import results
from pipeline.reporting.seed_means import evaluation
from pipeline.stages import guarded
from pipeline.stages import provenance as command
from tests.evaluation.test_compare import PARAMS, write_run

TRAINED = ("train/frames.h5", "train/captions.parquet", "val/frames.h5", "val/captions.parquet")
TESTED = ("test/frames.h5", "test/captions.parquet")
RUN = Path("runs/toy/tiny/near/0")
BACKBONE = "abc" * 21 + "d"


def make(root, method, seed, *, noise=0.3, **named):
    """A run as its stages write it. `named`: more of the adapter's header."""
    folder = root / "runs/toy/tiny" / method / str(seed)
    files = {name.replace("/", "_").partition(".")[0]: Path("work/toy", name) for name in TRAINED}
    about = record.describe(device="cpu", threads=1, inputs=files) | {"processes": 1}
    header = {"run": method, "config": {"middle": 3}, "train": {"lr": 0.1}, "shape": {"words": 9}, "dataset": "toy", "backbone": "tiny"}
    header |= {"backbone_digest": BACKBONE, "dataset_fingerprint": about["inputs"], "seed": seed, "commit": about["commit"]} | named
    adapter = folder / "adapter.safetensors"
    checkpoint.save(adapter, {"w": torch.full((2,), float(seed))}, header=header)
    about = {"status": "finished", "adapter": record.sha256(adapter), "epochs": [], "selected_epoch": 0, "record": about}
    write_json(folder / "train.json", about)
    write_json(folder / "cost.json", dict.fromkeys(results.NEEDED["cost.json"].split(), 1))
    inputs = {f"work/toy/{name}": record.sha256(Path("work/toy", name)) for name in TESTED}
    write_run(root, method, seed, noise=noise, backbone=BACKBONE, adapter=record.sha256(adapter), inputs=json.dumps(inputs))
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*TRAINED, *TESTED):
        path = tmp_path / "work/toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for method, noise in (("near", 0.3), ("far", 1.0)):
        for seed in (0, 1):
            make(tmp_path, method, seed, noise=noise)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def run(monkeypatch, capsys, *words):
    """The command's output, and the sentences that it ends with: none where all agrees."""
    monkeypatch.setattr(sys, "argv", ["provenance", *map(str, words)])
    try:
        guarded(command.main)
        sentences = []
    except SystemExit as ended:
        sentences = str(ended.code).splitlines()
        assert sentences and all(sentence.startswith("error: ") for sentence in sentences)
    return capsys.readouterr().out, [sentence.removeprefix("error: ") for sentence in sentences]


def edit(path, change):
    content = read_json(path)
    change(content)
    write_json(path, content)


def spoil(path):
    path.write_bytes(path.read_bytes()[:-1] + b"!")


@pytest.mark.usefixtures("world")
def test_a_whole_chain_names_every_step_and_agrees(monkeypatch, capsys):
    text, sentences = run(monkeypatch, capsys, RUN)
    assert not sentences
    flat = " ".join(text.split())
    about = read_json(RUN / "train.json")["record"]
    assert f"commit: {about['commit'].rstrip('+')}" in flat and ("not committed" in flat) == about["commit"].endswith("+")
    assert "seed: 0" in flat and f"backbone: tiny, SHA-256 {BACKBONE[:12]}" in flat and "config: middle 3" in flat
    assert f"envs/requirements.txt {record.sha256(record.LOCK)[:12]}; " in flat and f"torch {about['versions']['torch']}" in flat
    assert "machine: machine x86_64, device cpu, threads 1, processes 1" in flat.replace(about["machine"], "x86_64")
    for name in (*TRAINED, *TESTED):
        assert f"data: work/toy/{name} {hashlib.sha256(name.encode()).hexdigest()[:12]}" in flat
    # There is no method of that name to ask for its settings.
    assert "not here, not checked: params.yaml: methods.near on toy found: all that is here agrees" in flat
    checked = flat.partition("checked: ")[2]
    assert all(name in checked for name in ("embeddings.h5", "the numbers of metrics.json", "adapter.safetensors", *TRAINED, *TESTED))


def other_embeddings(folder):
    with h5py.File(folder / "embeddings.h5", "r+") as file:
        file["text"][0] = 0.5


def other_adapter(folder):
    header = checkpoint.read_header(folder / "adapter.safetensors")
    checkpoint.save(folder / "adapter.safetensors", {"w": torch.zeros(2) - 1}, header=header)


def other_number(folder):
    edit(folder / "metrics.json", lambda m: m["t2v"].update(R1=m["t2v"]["R1"] + 4))


def other_interval(folder):
    edit(folder / "metrics.json", lambda m: m["v2t"].update(R1_ci=[1.0, 2.0]))


def other_seed_copied(folder):
    shutil.copy(folder.parent / "1/metrics.json", folder)


def other_commit(folder):
    edit(folder / "train.json", lambda t: t["record"].update(commit="f" * 40))


def other_record(folder):
    edit(folder / "train.json", lambda t: t.update(adapter="f" * 64))


def no_link(folder):
    edit(folder / "metrics.json", lambda m: m.pop("embeddings"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_embeddings, f"{RUN}/metrics.json was scored from embeddings whose SHA-256 begins"),
        (other_adapter, f"{RUN}/metrics.json is of an adapter whose SHA-256 begins"),
        (other_number, f"{RUN}/metrics.json says t2v.R1 "),
        (other_interval, f"{RUN}/metrics.json says v2t.R1_ci [1.0, 2.0], and the embeddings that it names give ["),
        (other_seed_copied, f"{RUN}/metrics.json is of toy/tiny/near/1, and lies in the folder of toy/tiny/near/0: score that run again"),
        (other_commit, f"{RUN}/train.json and {RUN}/adapter.safetensors differ in the commit that they were made with: train again"),
        (
            other_record,
            f"{RUN}/train.json is of an adapter whose SHA-256 begins ffffffffffff, and that of {RUN}/adapter.safetensors begins",
        ),
        (no_link, f"{RUN}/metrics.json was scored from embeddings that it does not name: score again"),
        (lambda _: spoil(Path("work/toy/train/frames.h5")), f"{RUN} was trained on a file whose SHA-256 begins"),
        (lambda _: spoil(Path("work/toy/test/captions.parquet")), f"{RUN} was tested on a file whose SHA-256 begins"),
        (lambda _: spoil(Path("work/toy/missing.tsv")), f"{RUN} was scored without a file whose SHA-256 begins"),
        (lambda folder: (folder / "adapter.safetensors").write_bytes(b"x"), "adapter.safetensors is not an adapter checkpoint"),
    ],
)
def test_a_link_that_was_changed_is_told_in_a_sentence(world, monkeypatch, capsys, change, sentence):
    change(world / RUN)
    text, sentences = run(monkeypatch, capsys, RUN)
    assert [found for found in sentences if sentence in found]
    assert "that do not agree" in text


def test_a_hand_edited_number_says_both_values(world, monkeypatch, capsys):
    right = read_json(world / RUN / "metrics.json")["t2v"]["R1"]
    other_number(world / RUN)
    (sentence,) = run(monkeypatch, capsys, RUN)[1]
    assert sentence == f"{RUN}/metrics.json says t2v.R1 {right + 4}, and the embeddings that it names give {right}: score again"


def test_files_that_are_not_here_are_named_and_nothing_fails(world, monkeypatch, capsys):
    shutil.rmtree(world / "work")
    for name in ("embeddings.h5", "train.json"):
        (world / RUN / name).unlink()
    text, sentences = run(monkeypatch, capsys, RUN)
    assert not sentences
    absent = " ".join(text.split()).partition("not here, not checked: ")[2]
    assert all(name in absent for name in ("embeddings.h5", "train.json", "work/toy/missing.tsv", *TESTED))
    assert "checked: adapter.safetensors" in text
    (world / RUN / "adapter.safetensors").unlink()
    assert not run(monkeypatch, capsys, RUN)[1]


def test_the_adapter_is_checked_by_the_metrics_without_the_embeddings(world, monkeypatch, capsys):
    (world / RUN / "embeddings.h5").unlink()
    other_adapter(world / RUN)
    sentences = run(monkeypatch, capsys, RUN)[1]
    assert any(f"{RUN}/metrics.json is of an adapter whose" in sentence for sentence in sentences)


def test_clips_are_hashed_when_they_are_asked_for(world, monkeypatch, capsys):
    clips = world / "data/toy/clips/000"
    clips.mkdir(parents=True)
    (clips / "a.mp4").write_text("a")
    rows = [{"out_path": f"000/{name}.mp4", "out_sha256": hashlib.sha256(name.encode()).hexdigest()} for name in "ab"]
    pd.DataFrame(rows).to_parquet(world / "work/toy/test/videos.parquet")
    text, sentences = run(monkeypatch, capsys, RUN, "--clips")
    assert not sentences and "1 clips of test" in text
    spoil(clips / "a.mp4")
    assert not run(monkeypatch, capsys, RUN)[1]
    (sentence,) = run(monkeypatch, capsys, RUN, "--clips")[1]
    assert sentence.startswith("data/toy/clips/000/a.mp4 is not the clip that work/toy/test/videos.parquet lists (1 such)")


def means(world, **change):
    target = world / "metrics/toy/near.json"
    write_json(target, evaluation([results.load_result(world / f"runs/toy/tiny/near/{seed}") for seed in (0, 1)]) | change)
    return target


def folders(text):
    return [line for line in text.splitlines() if line.startswith("runs/")]


def test_a_path_stands_for_its_runs(world, monkeypatch, capsys):
    (world / "results/toy").mkdir(parents=True)
    (world / "results/toy/table.csv").touch()
    write_json(world / RUN / "curves/metrics.json", {})
    means(world)
    near, far = ([f"runs/toy/tiny/{method}/{seed}" for seed in (0, 1)] for method in ("near", "far"))
    (world / "params.yaml").write_text(PARAMS.replace("seeds: [0]", "seeds: [1]").replace("far: {", "far: {seeds: [0, 1], "))
    for words, expected in (
        ([RUN / "metrics.json"], near[:1]),
        ([world / RUN / "train.json"], near[:1]),
        ([RUN, RUN / "metrics.json", far[0]], [near[0], far[0]]),
        (["results/toy"], [near[1], *far]),
        (["results/toy/table.csv"], [near[1], *far]),
        ([world / "metrics/toy/near.json"], near[1:]),
        (["metrics/toy/near.json"], near[1:]),
        ([shutil.copy("metrics/toy/near.json", "metrics/selected.json")], near[1:]),
        ([RUN / "curves/metrics.json"], near[:1]),
    ):
        text, sentences = run(monkeypatch, capsys, *words)
        assert folders(text) == expected
        # params.yaml has one seed of near, and the means are of two
        assert all(sentence.startswith(("metrics/", str(world / "metrics"))) and " says " in sentence for sentence in sentences)


def test_means_are_those_of_their_runs(world, monkeypatch, capsys):
    (world / "params.yaml").write_text(PARAMS.replace("seeds: [0]", "seeds: [0, 1]"))
    path = means(world)
    right = read_json(path)["RSum"]
    assert not run(monkeypatch, capsys, path)[1]
    (sentence,) = run(monkeypatch, capsys, means(world, RSum=99.0))[1]
    assert sentence == f"{path} says RSum 99.0, and its runs give {right}: evaluate again"
    (sentence,) = run(monkeypatch, capsys, means(world, seeds=3, more=1))[1]
    assert sentence == f"{path} says seeds 3 (2 such), and its runs give 2: evaluate again"
    (world / RUN / "cost.json").unlink()
    text, sentences = run(monkeypatch, capsys, path)
    assert not sentences and "cost.json" in text.partition("not here, not checked: ")[2]
    edit(path, lambda about: about.update(method="nearer"))
    assert "params.yaml has no method 'nearer'; did you mean 'near'?" in run(monkeypatch, capsys, path)[1][0]


def test_json_holds_the_same(world, monkeypatch, capsys):
    other_number(world / RUN)
    text, sentences = run(monkeypatch, capsys, RUN, "runs/toy/tiny/far/0", "--json")
    found = json.loads(text)
    assert [entry["run"] for entry in found["runs"]] == [str(RUN), "runs/toy/tiny/far/0"]
    assert found["problems"] == sentences == found["runs"][0]["problems"] and not found["runs"][1]["problems"]
    assert found["runs"][1]["facts"]["parameters"]["train"] == {"lr": 0.1}


def test_what_is_no_run_is_one_sentence(world, monkeypatch, capsys):
    assert run(monkeypatch, capsys, "nothing/here")[1] == [
        "there is no nothing/here; name a run, results/<dataset> or metrics/<dataset>/<method>.json"
    ]
    assert run(monkeypatch, capsys, "work/toy")[1][0].startswith("work/toy is no run that was scored")
    (world / "results/toy").mkdir(parents=True)
    (world / RUN / "metrics.json").unlink()
    assert run(monkeypatch, capsys, "results/toy")[1] == [
        f"there is no {RUN}/metrics.json; make it with: snakemake --cores all {RUN}/metrics.json"
    ]
    edit(world / "runs/toy/tiny/far/0/train.json", lambda train: train.pop("record"))
    assert (
        "a file in runs/toy/tiny/far/0 is not as this pipeline writes it ('record')"
        in run(monkeypatch, capsys, "runs/toy/tiny/far/0")[1][0]
    )


def trained(text, **changed):
    """The settings in the header of an adapter of vop that was trained with what such a params.yaml says."""
    asked = training(check(yaml.safe_load(text)), "vop", "toy")
    config = stated(methods.load("vop", config=asked.config))
    return {"config": config, "train": stated(asked.train) | changed, "shape": stated(asked.shape)}


def test_settings_that_were_edited_after_their_plan_are_found(world, monkeypatch, capsys):
    text = PARAMS.replace("near", "vop")
    (world / "params.yaml").write_text(text)
    folder = make(world, "vop", 0, **trained(text)).relative_to(world)
    said, sentences = run(monkeypatch, capsys, folder)
    assert sentences == [] and "the settings in params.yaml" in " ".join(said.split())
    make(world, "vop", 0, **trained(text, epochs=2))
    assert run(monkeypatch, capsys, folder)[1] == [
        f"{folder}/adapter.safetensors was trained with train.epochs 2, and params.yaml says 5: train again, or put params.yaml back"
    ]
    make(world, "vop", 0, **trained(text))
    edits = {
        "vop: {train": "vop: {config: {visual_prompts: 9}, train",
        "videos: videos}": "videos: videos, frames: {number: 3}}",
        "lr: 0.1": "lr: 0.2",
    }
    for old, new in edits.items():
        (world / "params.yaml").write_text(text.replace(old, new))
        sentences = run(monkeypatch, capsys, folder)[1]
        assert len(sentences) == 1 and "params.yaml says" in sentences[0], (new, sentences)
    chosen = text.replace("vop: {train", "vop: {config: {anchor: patches}, train")  # a later key, in few headers
    (world / "params.yaml").write_text(chosen)
    assert "config.anchor as it was by default, and params.yaml says patches" in run(monkeypatch, capsys, folder)[1][0]
    make(world, "vop", 0, **trained(chosen))
    assert run(monkeypatch, capsys, folder)[1] == []
    (world / "params.yaml").write_text(text)
    assert "config.anchor patches, and params.yaml says auto" in run(monkeypatch, capsys, folder)[1][0]
    make(world, "vop", 0, **trained(text))
    (world / "elsewhere.yaml").write_text(text)
    assert run(monkeypatch, capsys, folder, "--params", world / "elsewhere.yaml")[1] == []
    (world / "params.yaml").write_text(text.replace("vop", "bias"))
    said, sentences = run(monkeypatch, capsys, folder)
    assert sentences == [] and "methods.vop on toy" in said.partition("not here")[2]


def test_a_gain_that_was_searched_is_in_the_settings(world, monkeypatch, capsys):
    text = PARAMS.replace("near", "vop") + "search: {gains: [0.5, 1.0]}\n"
    (world / "params.yaml").write_text(text)
    folder = make(world, "vop", 0, **trained(text, lr=0.05)).relative_to(world)
    write_json(folder.parent / "search.json", {"gain": 1.0})
    assert "train.lr 0.05, and params.yaml says 0.1" in run(monkeypatch, capsys, folder)[1][0]
    write_json(folder.parent / "search.json", {"gain": 0.5})
    assert "train.clip_lr" in run(monkeypatch, capsys, folder)[1][0], "both rates are scaled"
