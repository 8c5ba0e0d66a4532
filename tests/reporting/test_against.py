"""Runs beside the numbers of papers: inside, outside, another backbone, one seed; the page and the command say the same."""

import json
import sys

import numpy as np
import pytest

from pipeline.config import papers
from pipeline.config.papers import Printed
from pipeline.config.schema import Score
from pipeline.evaluation import embeddings
from pipeline.evaluation.score import score
from pipeline.reporting import against
from pipeline.stages import compare as command
from pipeline.stages import guarded

PAPER = "ViT-B-16-quickgelu"
RUN = "mv_adapter@paper"


def made(*, wrong, videos=40):
    """Embeddings of which the captions of the first `wrong` videos find each other's video."""
    video = np.eye(videos, dtype=np.float32)
    text = video.copy()
    text[:wrong] = np.roll(video[:wrong], 1, axis=0)
    ids = [f"v{i:02d}" for i in range(videos)]
    rows = np.arange(videos)
    return embeddings.Embeddings(
        video=video, text=text, twin=video[:0], mask=np.ones((videos, 1), bool), video_id=ids, caption_id=ids,
        video_of_text=rows, twin_of=rows[:0], directed=np.zeros(videos, bool),
    )  # fmt: skip


def cell(value, *, metric="R1", table="table 1", backbone=PAPER, deviation=None, direction="t2v", why=""):
    return Printed("mv", table, "row", RUN, "msrvtt", "", backbone, direction, metric, value, deviation, "somewhere", why)


def compared(*printed, wrong=(20, 22), backbone=PAPER, variant="", run=RUN):
    seeds = [made(wrong=n) for n in wrong]
    scored = [score(one, settings=Score()) for one in seeds]
    place = ("msrvtt", variant, backbone)
    return against.against("own", seeds, scored=scored, settings=Score(), run=run, place=place, validation="paper", printed=printed)


def test_the_value_is_the_mean_over_seeds_and_the_interval_that_of_the_metrics():
    one = made(wrong=20)
    scored = score(one, settings=Score())
    ours = against.estimates([one], scored=[scored], settings=Score())
    for way in ("t2v", "v2t"):
        assert ours[way, "R1"].value == scored[way]["R1"] == 50
        assert ours[way, "R1"].interval == pytest.approx(scored[way]["R1_ci"], abs=1e-3)
        assert ours[way, "RSum"].interval == pytest.approx(scored[way]["RSum_ci"], abs=1e-3)
        assert ours[way, "MnR"] == against.Estimate(scored[way]["MnR"])
    both = against.estimates([one, made(wrong=0)], scored=[scored, scored], settings=Score())
    assert both["t2v", "R1"].value == 75


def test_all_that_is_found_has_wilsons_interval():
    ours = against.estimates([made(wrong=0)], scored=[score(made(wrong=0), settings=Score())], settings=Score())
    low, high = ours["t2v", "R1"].interval
    assert 85 < low < 95 and high == pytest.approx(100)
    low, high = ours["t2v", "RSum"].interval
    assert 255 < low < 285 and high == pytest.approx(300)


def test_a_printed_number_is_inside_or_outside():
    found = compared(cell(46.2, deviation=0.5), cell(80.0, metric="R5"), cell(20.0, direction="v2t"), cell(3.0, metric="MnR"))
    assert [(line.printed, line.verdict) for line in found.lines] == [
        ("46.2 ± 0.5", "inside"),
        ("80", "outside"),
        ("20", "outside"),
        ("3", "\u2013"),
    ]
    assert found.lines[0].ours == "47.5" and not found.refused
    estimate = against.Estimate(50.0, (40.04, 60.0))
    assert [estimate.holds(value) for value in (40.0, 39.9, 60.0, 60.1)] == ["inside", "outside", "inside", "outside"]


def test_what_several_tables_print_is_one_line():
    found = compared(
        cell(46.2, deviation=0.5), cell(46.2, table="table 7"), cell(46.8, table="table 9"), cell(2.39, metric="share", direction="")
    )
    assert [(line.tables, line.printed) for line in found.lines] == [("table 1, table 7", "46.2 ± 0.5"), ("table 9", "46.8")]


def test_another_backbone_is_refused_and_another_variant_or_run_is_in_no_paper():
    found = compared(cell(46.2), backbone="ViT-B-32-quickgelu")
    assert not found.lines and not found.reasons
    assert found.refused == "own is published with ViT-B-16-quickgelu, and this run is of ViT-B-32-quickgelu: not compared"
    assert compared(cell(46.2), variant="7k") is None
    assert compared(cell(46.2), run="vop@paper") is None
    assert compared(cell(2.39, metric="share", direction="")) is None


def test_reasons_follow_from_recipe_seeds_and_rows():
    found = compared(cell(46.2, why="almost"), wrong=(20,))
    assert list(found.reasons) == [
        "selection-on-the-test-set", "ties", "frames-and-transcoding", "the-half-precision-optimiser", "rates-that-are-not-stated",
        "seeds", "rows-that-are-not-quite-the-run",
    ]  # fmt: skip
    assert found.reasons["seeds"].startswith("Ours is of 1 seed,") and found.reasons["rows-that-are-not-quite-the-run"] == "almost"
    told = {"validation": "clean", "seeds": 3, "printed": ()}
    assert set(against.reasons("zero_shot", "msrvtt", **told)) == {
        "selection-on-the-test-set",
        "ties",
        "frames-and-transcoding",
        "validation-videos",
    }
    assert "the-half-precision-optimiser" not in against.reasons("mv_adapter@released", "msrvtt", **told)


def test_each_reason_is_a_heading_of_the_page():
    page = (papers.FOLDER.parent / against.PAGE).read_text(encoding="utf-8")
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in page.splitlines() if line.startswith("#")}
    every = compared(cell(1.0, why="almost"), wrong=(20,)).reasons | against.reasons(
        "zero_shot", "msrvtt", validation="clean", seeds=1, printed=()
    )
    assert set(every) <= headings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A configuration of VoP's whose runs were scored on forty videos."""
    monkeypatch.chdir(tmp_path)
    text = "run: {datasets: [msrvtt], methods: [vop@paper, zero_shot], seeds: [0]}\ndatasets: {msrvtt: {protocol: vop, variant: 9k}}\n"
    text += "backbone: {name: ViT-B-32-quickgelu, weights: openai}\nmethods: {vop@paper: {}, zero_shot: {}}\n"
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    def write(run, seed, *, wrong, backbone="ViT-B-32-quickgelu"):
        place = tmp_path / "runs/msrvtt" / backbone / run / str(seed)
        place.mkdir(parents=True)
        one = made(wrong=wrong)
        embeddings.save(place / "embeddings.h5", one, attributes={"seed": seed})
        about = {"dataset": "msrvtt", "backbone": backbone, "backbone_digest": "d", "method": run, "seed": seed, "missing_hash": "m"}
        (place / "metrics.json").write_text(json.dumps(score(one, settings=Score()) | about), encoding="utf-8")

    return write


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    guarded(command.main)


def test_the_command_prints_what_the_papers_say_of_all_runs(folder, monkeypatch, capsys):
    folder("vop@paper", 0, wrong=24)
    folder("vop@paper", 1, wrong=22)
    folder("zero_shot", 0, wrong=40)
    run(monkeypatch, "--paper")
    said = capsys.readouterr().out
    assert "vop@paper\n" in said and "zero_shot\n" in said and "docs/reproducing.md#selection-on-the-test-set" in said
    row = next(line.split() for line in said.splitlines() if "table 1" in line and " R@1 " in line)
    assert row[-6:-4] == ["39.6", "42.5"] and row[-1] == "inside"
    assert any("clip4clip" in line and "31.1" in line and line.endswith("outside") for line in said.splitlines())
    run(monkeypatch, "vop@paper", "--paper", "--json", "--seeds", "1")
    (one,) = json.loads(capsys.readouterr().out)
    assert one["label"] == "vop@paper" and one["lines"][0]["ours"] == "45.0"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--paper",), "no run in runs/msrvtt/ViT-B-32-quickgelu has a number in papers/ on msrvtt as params.yaml has it"),
        (("vop@papr", "--paper"), "no paper's number is known on msrvtt of 'vop@papr'; did you mean 'vop@paper'?"),
        (("vop@paper", "--paper", "--backbone", "other"), "published with ViT-B-32-quickgelu, and this run is of other: not compared"),
        (("vop@paper",), "name two methods to compare, or give --paper"),
    ],
)
def test_what_cannot_be_compared_is_said(folder, monkeypatch, words, sentence):
    folder("vop@paper", 0, wrong=24, backbone="other")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *words)
    assert sentence in str(ended.value)
