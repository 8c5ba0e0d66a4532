"""Dual softmax and querybank normalisation against rewrites by loops, and the command that prints them beside the plain scores."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Score
from pipeline.core.record import sha256
from pipeline.evaluation.embeddings import Embeddings, save
from pipeline.evaluation.score import score
from pipeline.evaluation.transductive import NEEDS, _order, dual_softmax, querybank, track
from pipeline.reporting.results import Result
from pipeline.reporting.transductive import FILE, table
from pipeline.stages import transductive


def unit(rng, rows, width=6):
    vectors = rng.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def made():
    """Eight videos, two captions each, near their video; the first video is near everything: a hub."""
    rng = np.random.default_rng(5)
    video = unit(rng, 8)
    text = np.repeat(video, 2, axis=0) + 0.8 * unit(rng, 16) + 0.6 * video[0]
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    links = {"video_of_text": np.repeat(np.arange(8), 2), "twin_of": np.array([], int), "directed": np.zeros(16, bool)}
    names = {"video_id": [f"v{n}" for n in range(8)], "caption_id": [f"c{n}" for n in range(16)]}
    return Embeddings(video=video, text=text.astype(np.float32), twin=video[:0], mask=np.ones((8, 1), bool), **links, **names)


def naive_dual(scores):
    found = [[0.0] * len(scores[0]) for _ in scores]
    for v in range(len(scores[0])):
        total = sum(math.exp(100 * float(row[v])) for row in scores)
        for q, row in enumerate(scores):
            found[q][v] = float(row[v]) * math.exp(100 * float(row[v])) / total
    return found


def naive_bank(scores, bank):
    first = {max(range(len(row)), key=lambda v, row=row: row[v]) for row in bank}
    sums = [sum(math.exp(20 * float(row[v])) for row in bank) for v in range(len(scores[0]))]
    found = []
    for row in scores:
        changed = max(range(len(row)), key=lambda v, row=row: row[v]) in first
        found.append([math.exp(20 * float(s)) / sums[v] if changed else float(s) for v, s in enumerate(row)])
    return found


def order(rows):
    return [np.argsort(-np.asarray(row), kind="stable").tolist() for row in rows]


def test_dual_softmax_is_that_of_a_loop(made):
    scores = made.text @ made.video.T
    np.testing.assert_allclose(dual_softmax(scores), naive_dual(scores), rtol=1e-5)
    assert order(dual_softmax(scores)) != order(scores)


def test_shares_too_small_for_single_precision_are_no_ties():
    scores = np.array([[0.9, -0.5, -0.6], [0.1, 0.9, 0.95]], np.float32)
    assert (dual_softmax(scores)[0, 1:].astype(np.float32) == 0).all()
    assert _order(dual_softmax(scores)).tolist() == [[2, 0, 1], [0, 1, 2]]


def test_querybank_ranks_as_a_loop_and_leaves_queries_alone_whose_video_no_sentence_likes(made):
    rng = np.random.default_rng(6)
    scores, bank = made.text @ made.video.T, unit(rng, 30) @ made.video.T
    assert order(querybank(scores, bank)) == order(naive_bank(scores, bank)) != order(scores)
    only = np.zeros((1, 8), np.float32)
    only[0, 7] = 1
    rows = scores.argmax(axis=1) != 7
    assert np.array_equal(querybank(scores, only)[rows], scores[rows]) and rows.any()


def test_the_plain_numbers_are_those_of_score_and_the_others_those_of_a_loop(made):
    rng = np.random.default_rng(7)
    near = unit(rng, 40) + 0.8 * made.video[0]
    found = track(made, (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32) @ made.video.T)
    whole = score(made, settings=Score(bootstrap=10))
    assert list(found) == list(NEEDS)
    assert found["plain"] == {key: whole["t2v"][key] for key in ("R1", "R5", "R10")} | {"v2t_R1": whole["v2t"]["R1"]}
    rows = naive_dual(made.text @ made.video.T)
    places = [order(rows)[q].index(v) for q, v in enumerate(made.video_of_text)]
    assert [found["dual softmax"][f"R{k}"] for k in (1, 5)] == [100 * np.mean([place < k for place in places]) for k in (1, 5)]
    assert found["dual softmax"] != found["plain"] != found["querybank"]
    assert "v2t_R1" not in found["querybank"] and list(track(made)) == ["plain", "dual softmax"]


def test_video_to_text_shares_out_each_caption_among_the_videos(made):
    scores = made.text @ made.video.T
    by_video = np.asarray(naive_dual(scores.T))  # a row a video
    first = [made.video_of_text[row.argmax()] == v for v, row in enumerate(by_video)]
    assert track(made)["dual softmax"]["v2t_R1"] == 100 * np.mean(first)


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    save(tmp_path / "embeddings.h5", made, attributes={"run": "vop", "adapter": sha256(tmp_path / "adapter.safetensors")})
    pd.DataFrame({"split": "train", "text": [f"t{n}" for n in range(10)]}).to_parquet(tmp_path / "captions.parquet")
    asked = []

    class Loaded:
        def encode_texts(self, texts):
            asked.extend(texts)
            return made.text[: len(texts)]

    monkeypatch.setattr("pipeline.stages.transductive.Adapter", lambda *_, **__: Loaded())
    return tmp_path, asked


def call(monkeypatch, run, *words):
    monkeypatch.setattr("sys.argv", ["transductive", str(run), *map(str, words)])
    transductive.main()


def test_the_command_says_what_each_number_needs(run, monkeypatch, capsys):
    folder, asked = run
    call(monkeypatch, folder, "--captions", folder / "captions.parquet", "--bank", 4, "--out", folder / "t.md")
    said = capsys.readouterr().out
    assert said == (folder / "t.md").read_text() and "Not for a table of methods" in said
    assert all(f"| vop | {name} | {needs} |" in said for name, needs in NEEDS.items())
    assert asked == ["t0", "t3", "t6", "t9"]


def test_where_queries_weigh_frames_there_is_no_bank(run, made, monkeypatch, capsys):
    folder, asked = run
    frames = {"video": made.video[:, None], "twin": made.twin[:, None]}
    save(folder / "embeddings.h5", replace(made, **frames, temperature=5.0), attributes={"run": "cm_adapter", "adapter": "a"})
    call(monkeypatch, folder, "--captions", folder / "captions.parquet")
    said = capsys.readouterr().out
    assert "weighs frames by each query" in said and "| cm_adapter | dual softmax |" in said and "| querybank |" not in said and not asked


def test_the_report_has_means_over_seeds_of_what_the_rule_has_kept_and_refuses_others(run, monkeypatch):
    folder, _ = run
    call(monkeypatch, folder, "--captions", folder / "captions.parquet", "--keep")
    kept = json.loads((folder / FILE).read_text())
    assert list(kept["scores"]) == sorted(NEEDS) and kept["embeddings"] == sha256(folder / "embeddings.h5")
    (folder / "b").mkdir()
    changed = {name: {key: value + 1 for key, value in numbers.items()} for name, numbers in kept["scores"].items()}
    (folder / "b" / FILE).write_text(json.dumps(kept | {"scores": changed}))
    runs = [Result(place, {"embeddings": kept["embeddings"]}, {}, {}) for place in (folder, folder / "b")]
    found = table({"vop": runs})
    assert [row[1] for row in found.rows] == list(NEEDS)
    rows = {row[1]: row for row in found.rows}
    assert rows["querybank"][-1] == "\u2013" and rows["plain"][2] == "one query and the gallery"
    assert rows["plain"][3] == f"{kept['scores']['plain']['R1'] + 0.5:.1f}" and found.about.startswith("Not for a table of methods")
    with pytest.raises(ValueError, match="is of other embeddings than"):
        table({"vop": [Result(folder, {"embeddings": "x"}, {}, {})]})
    (folder / FILE).unlink()
    with pytest.raises(ValueError, match="run rule transductive, or set score.transductive: false"):
        table({"vop": runs})


def test_a_bank_of_other_captions_and_another_adapter_are_refused(run, monkeypatch):
    folder, _ = run
    (folder / "adapter.safetensors").write_bytes(b"y")
    with pytest.raises(ValueError, match=r"adapter.safetensors is not the one"):
        call(monkeypatch, folder, "--captions", folder / "captions.parquet")
    pd.DataFrame({"split": ["train", "test"], "text": "a"}).to_parquet(folder / "captions.parquet")
    with pytest.raises(ValueError, match="has captions of test; a bank is of the training split alone"):
        call(monkeypatch, folder, "--captions", folder / "captions.parquet")
