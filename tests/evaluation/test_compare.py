"""Two methods compared: what is refused, values by hand, the size and the power of the test, the command."""

import json
import re
import sys

import numpy as np
import pytest

from pipeline.config import settings
from pipeline.config.schema import Score
from pipeline.core.files import read_json, write_json
from pipeline.evaluation import compare, embeddings, metrics
from pipeline.stages import compare as command
from pipeline.stages import guarded
from pipeline.stages import score as scoring

VIDEOS = 12
SETTINGS = Score(bootstrap=300)
PARAMS = """
run: {datasets: [toy], methods: [near, far], seeds: [0]}
datasets: {toy: {captions: captions.csv, videos: videos}}
backbone: {name: tiny, weights: none}
methods: {near: {train: {lr: 0.1}}, far: {train: {lr: 0.1}}}
score: {bootstrap: 300}
"""


def write_run(root, method, seed, *, noise, videos=VIDEOS, probe=True, missing="none", backbone="abc", **named):
    """Embeddings of two captions a video, their noise as given, scored by the stage itself. `named`: more of their attributes."""
    folder = root / "runs" / "toy" / "tiny" / method / str(seed)
    rng = np.random.default_rng([seed, int(1000 * noise)])
    owner = np.repeat(np.arange(videos), 2)
    video = np.eye(videos, dtype=np.float32)
    text = video[owner] + noise * rng.normal(size=(2 * videos, videos)).astype(np.float32)
    made = embeddings.Embeddings(
        video=video,
        text=text,
        twin=video[::3] + noise * rng.normal(size=video[::3].shape).astype(np.float32),
        video_id=[f"v{n}" for n in range(videos)],
        caption_id=[f"c{n}" for n in range(2 * videos)],
        video_of_text=owner,
        twin_of=np.arange(videos)[::3],
        directed=(owner % 3 == 0) & probe,
        mask=np.ones((videos, 1), bool),
    )
    about = {"dataset": "toy", "backbone": "tiny", "backbone_digest": backbone, "run": method, "seed": seed}
    embeddings.save(folder / "embeddings.h5", made, attributes=about | {"adapter": "a", "inputs": "{}"} | named)
    lost = root / "work/toy/missing.tsv"
    lost.parent.mkdir(parents=True, exist_ok=True)
    lost.write_text(missing)
    words = ["--embeddings", folder / "embeddings.h5", "--missing", lost, "--metrics", folder / "metrics.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["score", *map(str, words), "--settings", settings.text(SETTINGS)])
        scoring.main()
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch):
    """near: two seeds, far: two seeds, one in common."""
    for method, seed, noise in (("near", 0, 0.3), ("near", 1, 0.4), ("far", 1, 1.0), ("far", 2, 1.2)):
        write_run(tmp_path, method, seed, noise=noise)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    guarded(command.main)
    return capsys.readouterr().out


def refused(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    with pytest.raises(SystemExit) as ended:
        guarded(command.main)
    sentence = str(ended.value)
    assert sentence.startswith("error: ") and "\n" not in sentence
    return sentence


def one(hits, sizes=None, folder=None):
    """A run of outcomes (V, 7), nothing else."""
    hits = np.asarray(hits, np.float64)
    sizes = np.ones(hits.shape, np.int64) if sizes is None else sizes
    about = dict.fromkeys(compare.SAME, "same")
    return compare.Run(folder, about, compare.shares(hits, sizes).sum(axis=0), hits, sizes)


def test_values_are_the_means_over_seeds_of_what_the_metrics_files_hold(world):
    write_run(world, "far", 0, noise=0.8)
    runs = {name: [compare.load(world / "runs/toy/tiny" / name / seed) for seed in "01"] for name in ("near", "far")}
    found = {row.metric: row for row in compare.compare(runs["near"], runs["far"], settings=SETTINGS)}
    assert set(found) == set(compare.NAMES)
    for method, side in (("near", "a"), ("far", "b")):
        files = [read_json(world / "runs/toy/tiny" / method / seed / "metrics.json") for seed in "01"]
        for way in ("t2v", "v2t"):
            for k in (1, 5, 10):
                assert getattr(found[f"{way}_R{k}"], side) == pytest.approx(np.mean([f[way][f"R{k}"] for f in files]), abs=1e-6)
        assert getattr(found["probe"], side) == pytest.approx(np.mean([f["probe"]["accuracy"] for f in files]), abs=1e-6)
        assert getattr(found["RSum"], side) == pytest.approx(np.mean([f["t2v"]["RSum"] + f["v2t"]["RSum"] for f in files]), abs=1e-6)


def test_outcomes_are_summed_for_each_video_whatever_the_order_of_the_file(world):
    made, _ = embeddings.load(world / "runs/toy/tiny/far/1/embeddings.h5")
    turn = np.random.default_rng(0).permutation(VIDEOS)
    place = np.argsort(turn)
    video = {"video": made.video[turn], "video_id": [made.video_id[n] for n in turn], "mask": made.mask[turn]}
    twins = np.argsort(place[made.twin_of])
    links = {"video_of_text": place[made.video_of_text], "twin_of": place[made.twin_of][twins], "twin": made.twin[twins]}
    turned = embeddings.Embeddings(**vars(made) | video | links)
    for before, after in zip(compare.outcomes(made), compare.outcomes(turned), strict=True):
        np.testing.assert_array_equal(before, after)
    assert compare.outcomes(made)[1].sum(axis=0).tolist() == [24, 24, 24, 12, 12, 12, 8]


def test_equal_runs_differ_by_nothing_and_twelve_videos_do_not_make_that_sure(world):
    run = compare.load(world / "runs/toy/tiny/near/0")
    for row in compare.compare([run], [run], settings=SETTINGS):
        assert (row.difference, row.p, row.p_holm) == (0, 1, 1)
        trials, times = 4 if row.metric == "probe" else 12, 6 if row.metric == "RSum" else 1
        # no difference in n videos: Tango's interval, z**2 / (n + z**2)
        assert row.high == -row.low == pytest.approx(times * 100 * 3.841459 / (trials + 3.841459), abs=1e-3)


def test_what_cannot_differ_has_an_interval_of_no_width():
    """Of two videos, R@5 and R@10; where no caption is seen in time, the probe."""
    hits = np.ones((2, 7))
    hits[:, 6] = 0.5
    rows = {row.metric: row for row in compare.compare([one(hits)], [one(hits)], settings=SETTINGS)}
    sure = {name for name, row in rows.items() if row.low == row.high == 0}
    assert sure == {"t2v_R5", "t2v_R10", "v2t_R5", "v2t_R10", "probe"}
    assert rows["RSum"].high == pytest.approx(2 * rows["t2v_R1"].high, abs=1e-5)


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_of_one_outcome_in_all_videos_covers_what_draws_give(seeds):
    """Where b is right and a is wrong in 95 of 100 videos, 20 videos often show nothing else: the interval must cover 95."""
    a, b = [one(np.zeros((20, 7)))] * seeds, [one(np.ones((20, 7)))] * seeds
    row = compare.compare(a, b, settings=SETTINGS)[0]
    assert row.high == 100 and row.low == pytest.approx(100 * (20 - 3.841459) / (20 + 3.841459), abs=1e-3)
    assert row.low < 95


def test_the_sign_flip_by_hand_one_video_in_four_decides():
    # b is right on four videos where a is wrong: 2 of the 16 exchanges are as extreme.
    a, b = one(np.zeros((4, 7))), one(np.ones((4, 7)))
    row = compare.compare([a], [b], settings=Score(bootstrap=20_000))[0]
    assert row.p == pytest.approx(2 / 16, abs=0.01)
    assert (row.a, row.b, row.difference, row.high) == (0, 100, 100, 100)
    assert row.low == pytest.approx(100 * (4 - 3.841459) / (4 + 3.841459), abs=1e-3)


def test_the_interval_of_a_difference_is_that_of_its_standard_error():
    # 400 videos: b wins 60 of them, loses 20: the difference has 100 * sqrt((80/400 - 0.1**2) / 400) = 2.18 points.
    change = np.zeros(400)
    change[:60], change[60:80] = 1, -1
    a, b = (one(np.repeat((side * change > 0)[:, None], 7, axis=1)) for side in (-1, 1))
    row = compare.compare([a], [b], settings=Score(bootstrap=4000))[0]
    assert row.difference == 10
    assert (row.low, row.high) == (pytest.approx(10 - 1.96 * 2.18, abs=0.4), pytest.approx(10 + 1.96 * 2.18, abs=0.4))


def test_whole_videos_are_drawn_and_exchanged():
    """Ten captions of a video that all say the same are one observation."""
    rng = np.random.default_rng(0)
    first, second = (rng.random((40, 1)).repeat(7, axis=1) < share for share in (0.3, 0.6))
    plain = compare.compare([one(first)], [one(second)], settings=SETTINGS)[0]
    sizes = np.full((40, 7), 10)
    tenfold = compare.compare([one(10 * first, sizes)], [one(10 * second, sizes)], settings=SETTINGS)[0]
    assert tenfold == plain


def test_both_sides_of_the_sum_are_drawn_together():
    """Where text and video queries hang together, the interval of the sum is as wide as both of theirs."""
    rng = np.random.default_rng(1)
    change = rng.integers(-1, 2, (200, 1)).repeat(7, axis=1)
    a, b = (one(side * change > 0) for side in (-1, 1))
    rows = {row.metric: row for row in compare.compare([a], [b], settings=SETTINGS)}
    assert rows["RSum"].high - rows["RSum"].low == pytest.approx(6 * (rows["t2v_R1"].high - rows["t2v_R1"].low), rel=1e-3)


def test_under_the_null_one_comparison_in_twenty_is_below_five_percent_and_outside_its_interval():
    rng = np.random.default_rng(0)
    below, outside, times = 0, 0, 400
    for n in range(times):
        runs = [one((rng.random((60, 1)) < 0.4).repeat(7, axis=1)) for _ in range(2)]
        row = compare.compare([runs[0]], [runs[1]], settings=Score(bootstrap=200, seed=n))[0]
        below += row.p <= 0.05
        outside += not row.low <= 0 <= row.high
    # 20 of 400 are expected, with a deviation of 4.4.
    assert 8 <= below <= 33
    assert 8 <= outside <= 38


def test_an_obvious_difference_is_found_and_survives_the_correction():
    rng = np.random.default_rng(0)
    runs = [one((rng.random((300, 7)) < share).astype(float)) for share in (0.2, 0.5)]
    for row in compare.compare([runs[0]], [runs[1]], settings=Score(bootstrap=2000)):
        assert row.low > 0 and row.p == pytest.approx(1 / 2001) and row.p_holm == pytest.approx(8 / 2001)


def test_holm_by_hand():
    assert compare.holm(np.array([0.04, 0.01, 0.03, 0.5])) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert compare.holm(np.array([0.6, 0.7])).tolist() == [1, 1]


@pytest.mark.parametrize("chunk", [1, 7000])
def test_draws_in_pieces_are_the_draws_at_once_and_the_interval_of_one_method_is_what_it_was(monkeypatch, chunk):
    rng = np.random.default_rng(2)
    values, clusters = rng.integers(0, 4, 500).astype(float), rng.integers(0, 90, 500)
    _, group = np.unique(clusters, return_inverse=True)
    draws = np.random.default_rng(5).multinomial(90, np.full(90, 1 / 90), size=200)
    means = 100 * (draws @ np.bincount(group, weights=values)) / (draws @ np.bincount(group))
    monkeypatch.setattr(metrics, "CHUNK", chunk)
    found = metrics.bootstrap(values, clusters, resamples=200, confidence=0.9, seed=5)
    assert found == np.quantile(means, (0.05, 0.95)).tolist()


@pytest.mark.usefixtures("world")
def test_the_command_prints_an_aligned_table_and_what_was_done(monkeypatch, capsys):
    lines = told(monkeypatch, capsys, "near", "far").splitlines()
    assert lines[0] == "toy, tiny; all values in percent"
    assert len({len(line) for line in lines[1:10]}) == 1
    heads = ["t2v R@1", "t2v R@5", "t2v R@10", "v2t R@1", "v2t R@5", "v2t R@10", "R-Sum both ways", "temporal probe"]
    assert [line[:15].strip() for line in lines[2:10]] == heads
    text = "\n".join(lines[10:])
    assert "Resampled: 12 whole videos with their 24 captions, 300 times" in text
    assert "1 seed of each method (1)" in text
    assert "8 metrics are tested at once: p (Holm) is corrected for that, p is not" in text


@pytest.mark.parametrize(("videos", "names"), [(2, "R@5 and R@10 are"), (9, "R@10 is"), (10, "R@10 is"), (11, "")])
def test_the_command_says_what_a_small_gallery_leaves_without_meaning(world, monkeypatch, capsys, videos, names):
    for method in ("near", "far"):
        write_run(world, method, 7, noise=0.5, videos=videos)
    last = told(monkeypatch, capsys, "near", "far", "--seeds", "7").splitlines()[-1]
    assert ("100 % whatever a method does" in last) == bool(names) and names in last
    about = json.loads(told(monkeypatch, capsys, "near", "far", "--seeds", "7", "--json"))
    assert about.get("meaningless", []) == [name for name in ("R@5", "R@10") if name in names]


def test_the_command_speaks_json_and_takes_settings_over_those_of_the_parameters(world, monkeypatch, capsys):
    write_run(world, "far", 0, noise=0.8)
    words = ("near", "far", "--json", "--resamples", "50", "--confidence", "0.8", "--seed", "3")
    found = json.loads(told(monkeypatch, capsys, *words))
    assert (found["seeds"], found["resamples"], found["confidence"], found["seed"]) == ([0, 1], 50, 0.8, 3)
    assert [row["metric"] for row in found["metrics"]] == list(compare.NAMES)
    assert found["metrics"][0]["difference"] < 0
    assert found == json.loads(told(monkeypatch, capsys, *words))
    assert json.loads(told(monkeypatch, capsys, *words, "--seeds", "1"))["seeds"] == [1]


def test_without_captions_that_name_a_direction_there_is_no_probe(world, monkeypatch, capsys):
    for method in ("near", "far"):
        write_run(world, method, 7, noise=0.5, probe=False)
    found = json.loads(told(monkeypatch, capsys, "near", "far", "--json", "--seeds", "7"))
    assert [row["metric"] for row in found["metrics"]] == list(compare.NAMES[:-1])
    assert found["probe_queries"] == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"videos": 11}, r"has gallery_hash \w+ and runs/toy/tiny/far/5 \w+; score both again on one gallery"),
        ({"missing": "v99"}, r"has missing_hash \w+ and runs/toy/tiny/far/5 \w+; score both again with one list of missing videos"),
        (
            {"backbone": "xyz"},
            r"runs/toy/tiny/near/5 has backbone_digest abc and runs/toy/tiny/far/5 xyz; train both again on one backbone",
        ),
    ],
)
def test_runs_that_were_not_asked_the_same_are_refused_with_both_values(world, monkeypatch, change, sentence):
    write_run(world, "near", 5, noise=0.5)
    write_run(world, "far", 5, noise=0.5, **change)
    assert re.search(sentence, refused(monkeypatch, "near", "far", "--seeds", "5"))


def test_another_number_of_queries_is_refused_with_both_values():
    runs = [one(np.ones((4, 7))) for _ in range(2)]
    for run, queries in zip(runs, (8, 9), strict=True):
        run.metrics["queries"] = queries
    with pytest.raises(ValueError, match="has queries 8 and None 9; score both again on one test set"):
        compare.compare(runs[:1], runs[1:], settings=SETTINGS)


def test_what_cannot_be_compared_is_one_sentence(world, monkeypatch):
    assert "near is compared with itself" in refused(monkeypatch, "near", "near")
    assert "there is no run of 'nea'; did you mean 'near'? runs/toy/tiny has: far, near" in refused(monkeypatch, "nea", "far")
    assert "there is no runs/toy/tiny/far/0/metrics.json; make it with" in refused(monkeypatch, "near", "far", "--seeds", "0")
    assert "confidence is 1.5; it must lie between 0 and 1" in refused(monkeypatch, "near", "far", "--confidence", "1.5")
    assert "bootstrap is 0; the least is 1" in refused(monkeypatch, "near", "far", "--resamples", "0")
    (world / "runs/toy/tiny/far/1/embeddings.h5").unlink()
    assert "there is no runs/toy/tiny/far/1/embeddings.h5" in refused(monkeypatch, "near", "far")
    (world / "runs/toy/tiny/far/1/metrics.json").unlink()
    assert "no seed is common in runs/toy/tiny: near has 0, 1 and far has 2" in refused(monkeypatch, "near", "far")
    (world / "params.yaml").write_text(
        PARAMS.replace("[toy]", "[toy, other]").replace("{toy:", "{other: {words: 9, captions: a, videos: b}, toy:")
    )
    assert "runs 2 datasets; say with --dataset which of toy, other" in refused(monkeypatch, "near", "far")


def test_metrics_that_are_not_of_the_embeddings_beside_them_are_refused(world, monkeypatch):
    path = world / "runs/toy/tiny/far/1/metrics.json"
    about = read_json(path)
    about["v2t"]["R5"] += 0.5
    write_json(path, about)
    said = about["v2t"]["R5"]
    assert f"far/1/metrics.json says v2t_R5 {said:.4f}, and the embeddings beside it give {said - 0.5:.4f}" in refused(
        monkeypatch, "near", "far"
    )
    del about["probe"]
    write_json(path, about)
    assert "far/1/metrics.json lacks 'probe'" in refused(monkeypatch, "near", "far")
