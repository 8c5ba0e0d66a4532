"""No winner inside the noise: which methods a paired test on the test videos tells from the best, and what the report makes of it."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Score
from pipeline.evaluation import embeddings
from pipeline.reporting import noise, page
from pipeline.reporting import results as report
from tests.reporting import test_results

SCORE = Score(bootstrap=500)


def made(right, *, tied=False):
    """Embeddings of a gallery in which the captions with `right` find their video first, and the others last."""
    videos = len(right)
    scores = np.where(np.asarray(right)[:, None], np.eye(videos), 1 - np.eye(videos)).astype(np.float32)
    nothing = np.empty((0, videos), np.float32)
    return embeddings.Embeddings(
        video=np.eye(videos, dtype=np.float32),
        text=np.ones_like(scores) if tied else scores,
        twin=nothing,
        video_id=[f"v{n:04}" for n in range(videos)],
        caption_id=[f"c{n}" for n in range(videos)],
        video_of_text=np.arange(videos),
        twin_of=np.empty(0, np.int64),
        directed=np.zeros(videos, bool),
        mask=np.ones((videos, 1), bool),
    )


def table(found, **std):
    """The columns of a `results.table` that are asked for, counted from the embeddings themselves."""
    rows = []
    for label, seeds in found.items():
        values = np.mean([noise.shares(*noise.outcomes(one)).sum(axis=0) for one in seeds], axis=0)
        named = {column: values[noise.NAMES.index(column)] for column in noise.TESTED}
        rows.append({"label": label, "seeds": len(seeds)} | named | {f"{column}_std": std.get(label, np.nan) for column in noise.TESTED})
    return pd.DataFrame(rows)


def alike(found, **std):
    return noise.alike(table(found, **std), found, score=SCORE)["t2v_R1"]


def test_a_method_that_is_right_on_many_more_videos_stands_alone():
    found = {"few": [made(np.arange(200) < 60)], "many": [made(np.arange(200) < 120)]}
    assert alike(found) == ["many"]
    assert noise.told({"t2v_R1": ["many"]}, methods=2) == ""


def test_one_video_more_is_noise_and_both_are_named():
    found = {"worst": [made(np.arange(200) < 60)], "b": [made(np.arange(200) < 120)], "a": [made(np.arange(200) < 121)]}
    assert alike(found) == ["a", "b"]
    assert noise.told({"t2v_R1": ["a", "b"]}, methods=3) == "By R@1, this test set does not tell a from b."
    assert noise.told({"t2v_R1": ["a", "b"]}, methods=2) == "By R@1, this test set cannot tell any method from the best."


@pytest.mark.parametrize("videos", [1, 2, 5])
def test_so_few_videos_crown_nobody_even_where_one_method_is_always_right(videos):
    found = {"never": [made(np.zeros(videos, bool))], "always": [made(np.ones(videos, bool))]}
    assert set(alike(found)) == {"never", "always"}


def test_the_test_is_paired_so_a_small_but_steady_gain_is_found():
    first = np.arange(400) < 200
    second = first | (np.arange(400) >= 385)  # 15 more, none lost
    other = np.roll(first, 15)  # as many right, half of these elsewhere
    assert alike({"first": [made(first)], "second": [made(second)]}) == ["second"]
    assert len(alike({"first": [made(first)], "other": [made(other)]})) == 2


def test_many_methods_are_many_chances():
    """Eight methods of one quality: the luckiest is told from the rest in one table of twenty at most."""
    rng, crowned = np.random.default_rng(0), 0
    for _ in range(20):
        found = {f"m{n}": [made(rng.random(60) < 0.5)] for n in range(8)}
        crowned += len(alike(found)) == 1
    assert crowned <= 1


def test_seeds_that_scatter_further_than_the_difference_are_noise_too():
    found = {name: [made(np.arange(300) < right)] * 2 for name, right in (("low", 120), ("high", 150))}
    assert alike(found, low=0.5, high=0.5) == ["high"]
    assert set(alike(found, low=20.0, high=20.0)) == {"low", "high"}


def test_a_column_that_some_method_lacks_has_no_best_and_one_method_is_alone():
    found = {"only": [made(np.arange(9) < 3)]}
    marked = noise.alike(table(found), found, score=SCORE)
    assert "probe" not in marked and marked["t2v_R1"] == ["only"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Six videos, as test_results writes them; what its metrics say differs much more than six videos can tell."""
    root = tmp_path_factory.mktemp("runs")
    test_results.write_runs(root)
    return test_results.load(root)


def render(runs, marked):
    df = report.table(runs)
    return page.render(runs, df, shown=[], thumbnails={}, score=None, card=test_results.facts(), marked=marked)


def bold(html):
    return html[html.index("<tbody>") : html.index("</tbody>")].count("<strong>")


def test_the_page_marks_all_that_are_alike_and_none_where_that_is_everybody(runs):
    everybody = {"t2v_R1": ["large", "small", "zero_shot"]}
    plain = bold(render(runs, {}))
    assert bold(render(runs, everybody)) == plain
    assert bold(render(runs, {"t2v_R1": ["large", "small"]})) == plain + 2
    assert bold(render(runs, {"t2v_R1": ["large"]})) == plain + 1
    nobody = "Highest R@1: 30.0 %. By R@1, this test set cannot tell any method from the best."
    assert nobody in render(runs, everybody) and "Highest R@1: <strong>large, 30.0 %</strong>" in render(runs, {})
    assert "does not tell large from small." in render(runs, {"t2v_R1": ["large", "small"]})


def test_ranks_and_speeds_are_never_bold_and_costs_are_for_the_smallest(runs):
    df = report.table(runs)
    named = {column.name: page._bold(df, column, []) for column in report.COLUMNS}
    assert {name for name, labels in named.items() if labels} == {"trainable", "share", "tower_share"}
    assert named["trainable"] == {"small"}


def test_a_method_whose_embeddings_depend_on_each_other_is_labelled_and_told(tmp_path):
    folder = test_results.write_run(tmp_path, "large", 0, gallery=11)
    cost = json.loads((folder / "cost.json").read_text())
    (folder / "cost.json").write_text(json.dumps(cost | {"sees_batch": True}))
    results = [report.load_result(folder), report.load_result(test_results.write_run(tmp_path, "small", 0, gallery=11))]
    df = report.table(results)
    assert list(df["label"]) == ["small", "large (by batch)"]
    (said,) = report.warnings(results, df)
    assert said.startswith("An embedding of large (by batch) depends on the videos that are embedded with it")
    assert "| large (by batch) |" in report.to_markdown(df)


def test_a_small_gallery_and_ties_are_told_on_the_page_and_below_both_tables(runs, tmp_path):
    folder = test_results.write_run(tmp_path, "small", 0, gallery=2, queries=2)
    about = json.loads((folder / "metrics.json").read_text())
    about["t2v"] |= {"R1_optimistic": 50.0, "R1_pessimistic": 0.0}
    (folder / "metrics.json").write_text(json.dumps(about))
    results = [report.load_result(folder)]
    df = report.table(results)
    said = report.warnings(results, df)
    assert said[0].startswith("The gallery has 2 videos: R@5 and R@10 are 100 % whatever a method does")
    assert said[1:] == ["Other videos tie with the right one: R@1 of small lies between 0.0 and 50.0 %."]
    assert render(results, {}).count("<strong>Note.</strong>") == 2
    for text in (report.to_markdown(df, notes=said), report.to_text(df, notes=said)):
        assert all(sentence in text for sentence in said)
    assert "R@10 is 100 %" in report.warnings(runs, report.table(runs))[0]  # of six videos
    large = report.load_result(test_results.write_run(tmp_path / "large", "small", 0, gallery=11))
    assert report.warnings([large], report.table([large])) == []
