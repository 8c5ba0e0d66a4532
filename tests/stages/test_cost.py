"""The command that counts what methods cost: its table, its JSON, and what it says to a mistake."""

import json
import sys
from pathlib import Path

import pytest

from pipeline.config.params import FILE, load_params
from pipeline.stages import cost as stage
from pipeline.stages import guarded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, capsys):
    """The command with options -> exit code, output, and errors without the lines of progress."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["cost", "--threads", "1", *options])
        code = 0
        try:
            guarded(stage.main)
        except SystemExit as end:
            code = 1 if isinstance(end.code, str) else end.code
            print(end.code, file=sys.stderr)
        said = capsys.readouterr()
        return code, said.out.splitlines(), [line for line in said.err.splitlines() if not line.startswith("cost: ")]

    return run


def test_the_command_prints_a_table_and_writes_json(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no params.yaml there: a benchmark's shape comes from the recipes
    named = ("--method", "ln", "zero_shot", "--json", str(tmp_path / "a.json"))
    code, said, errors = command("--backbone", "clip-tiny", "--dataset", "msrvtt", "--frames", "3", *named)
    assert code == 0, errors
    assert said[0] == "clip-tiny, 8,048,641 parameters, of them 1,724,417 of the towers; msrvtt: 3 frames, 32 words"
    assert [line.split()[0] for line in said[1:]] == ["method", "ln", "zero_shot"]
    written = json.loads((tmp_path / "a.json").read_text())
    rows = written.pop("rows")
    assert [(row["method"], row["trainable"], row["vision"]) for row in rows] == [("ln", 4864, 2560), ("zero_shot", 0, 0)]
    assert (rows[0]["share"], rows[0]["tower_share"]) == (0.0604, 0.2821)  # of 8,048,641, and without 49,408 words of 128
    about = {"backbone": "clip-tiny", "dataset": "msrvtt", "frames": 3, "words": 32}
    assert written == about | {"clip_parameters": 8_048_641, "tower_parameters": 1_724_417, "refused": {}}


@pytest.mark.parametrize(("dataset", "frames", "words"), [("motion", 4, 24), ("msvd", 12, 32), ("DiDeMo", 64, 64)])
def test_frames_and_words_are_those_of_params_yaml_or_of_the_benchmark(dataset, frames, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["cost", "--backbone", "x", "--dataset", dataset])
    settings = stage._settings(stage._arguments(), load_params(FILE))
    assert (settings.frames.number, settings.words) == (frames, words)


@pytest.mark.parametrize(
    ("backbone", "dataset", "options", "message"),
    [
        ("ViT-B-99", "msrvtt", (), "open_clip has no model 'ViT-B-99'"),
        ("clip-tiny", "msrvt", (), "unknown dataset 'msrvt'; did you mean 'msrvtt'?"),
        ("clip-tiny", "motion", ("--method", "vopp"), "unknown method 'vopp'; did you mean"),
        ("clip-tiny", "motion", ("--method", "vop@relase"), "did you mean 'vop@release'?"),
        ("clip-tiny", "motion", ("--method", "vop@depth9"), "vop@depth9 on clip-tiny: vop: shallow"),
        ("clip-tiny", "motion", ("--frames", "0"), "number is 0; the least is 1"),
        ("clip-tiny", "motion", ("--words", "99"), "words is 99"),
        ("clip-tiny", "motion", ("--memory", "80"), "--memory has '80'; give a size such as 80GB"),
        ("clip-tiny", "motion", ("--batch", "1"), "batch is 1; the least is 2"),
        (
            "clip-tiny",
            "motion",
            ("--batch", "8", "--precision", "half"),
            "the options, or params.yaml: methods.adapter_attn.train",
        ),
        ("clip-tiny", "motion", ("--batch", "8", "--method", "vop@depth9"), "vop@depth9 on clip-tiny: vop: shallow"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(backbone, dataset, options, message, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, said, errors = command("--backbone", backbone, "--dataset", dataset, *options)
    assert code == 1 and not said and len(errors) == 1 and errors[0].startswith("error: ") and message in errors[0], errors


MEMORY = ("--backbone", "clip-tiny", "--dataset", "motion", "--frames", "2", "--method", "ln", "vop")


def test_with_a_batch_it_says_what_a_step_takes_and_with_a_memory_what_fits(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = ("--batch", "8", "--memory", "2", "GB", "1.13GB", "--precision", "float32", "bfloat16", "--json", str(tmp_path / "a.json"))
    code, said, errors = command(*MEMORY, *options)
    assert code == 0, errors
    assert said[0] == "clip-tiny, motion: 2 frames, 24 words, batch 8"
    assert said[1].split() == ["method", "precision", "autograd", "keeps", "peak", "device", "needs", "in", "2.0", "GB", "in", "1.1", "GB"]
    assert [line.split()[:2] for line in said[2:]] == [[m, p] for m in ("ln", "vop") for p in ("float32", "bfloat16")]
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    plain, half = rows[2:]
    assert half["peak"] < plain["peak"] and plain["kept"] < plain["peak"] and plain["needed"] == round(1.05 * plain["peak"] + 1e9)
    assert all(row["fits"]["2000000000"] == [{}] for row in rows)
    for way in plain["fits"]["1130000000"]:
        settings = [word for key, value in way.items() for word in ([f"--{key}"] if value is True else [f"--{key}", str(value)])]
        _, again, _ = command(*MEMORY, "--batch", "8", "--memory", "1.13GB", *settings)
        assert again[-1].split()[-1] == "fits"


def test_backbone_dataset_and_batch_are_those_of_params_yaml(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, said, errors = command("--memory", "80GB", "--method", "ln")
    assert code == 0 and said[0] == "clip-tiny, motion: 4 frames, 24 words, batch 32", errors
    monkeypatch.chdir(tmp_path)
    code, _, errors = command("--memory", "80GB")
    assert code == 1 and errors == ["error: there is no params.yaml to take the backbone from; give --backbone"]
