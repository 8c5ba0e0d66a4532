"""Metrics on matrices small enough to check by hand, and against a naive loop."""

import numpy as np
import pytest

from pipeline.evaluation import metrics, ranks, small

INTERVAL = {"resamples": 500, "confidence": 0.95, "seed": 0}


def matrix(rows):
    return np.array(rows, np.float32)


def test_ranks_without_ties_by_hand():
    scores = matrix([[0.9, 0.1, 0.2], [0.8, 0.3, 0.5], [0.1, 0.7, 0.6]])
    found_ranks = ranks.rank(scores, np.arange(3), names="abc")
    assert found_ranks.mean.tolist() == [1, 3, 2]
    found = metrics.summary(found_ranks, np.arange(3), **INTERVAL)
    assert (found["R1"], found["R5"], found["MdR"], found["MnR"]) == (33.3333, 100.0, 2.0, 2.0)
    assert found["RSum"] == 233.3333


def test_ties_take_the_mean_of_the_tied_places_and_both_extremes_are_told():
    found_ranks = ranks.rank(matrix([[0.5, 0.5, 0.5, 0.1]]), np.array([1]), names=["a"])
    assert (found_ranks.optimistic[0], found_ranks.mean[0], found_ranks.pessimistic[0]) == (1, 2, 3)


def test_a_model_that_gives_everything_the_same_score_does_not_get_full_marks():
    found_ranks = ranks.rank(np.zeros((9, 9), np.float32), np.arange(9), names="abcdefghi")
    found = metrics.summary(found_ranks, np.arange(9), **INTERVAL)
    assert (found["R1"], found["R1_optimistic"], found["R1_pessimistic"], found["MdR"]) == (0.0, 100.0, 0.0, 5.0)


def test_nan_is_an_error_that_names_the_query():
    scores = matrix([[1, 0], [0, 1]])
    scores[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"query 'second' are NaN \(1 of 2 queries\)"):
        ranks.rank(scores, np.arange(2), names=["first", "second"])
    with pytest.raises(ValueError, match="NaN"):
        ranks.video_to_text(scores, np.array([0, 1]), videos=["a", "b"])


def test_only_float32_similarities_are_ranked():
    with pytest.raises(ValueError, match="float16"):
        ranks.rank(np.eye(2, dtype=np.float16), np.arange(2), names="ab")


def test_a_video_takes_its_best_caption_and_every_caption_is_a_query():
    # captions 0, 1 belong to video 0; 2 to video 1
    scores = matrix([[0.2, 0.9], [0.8, 0.1], [0.7, 0.6]])
    owner = np.array([0, 0, 1])
    assert ranks.text_to_video(scores, owner, captions="abc").mean.tolist() == [2, 1, 2]
    # video 0: own best 0.8 against 0.7; video 1: own best 0.6 against 0.9
    assert ranks.video_to_text(scores, owner, videos="ab").mean.tolist() == [1, 2]
    assert ranks.video_to_caption(scores, owner, videos="ab").mean.tolist() == [1, 2]


def test_both_definitions_of_video_to_text_agree_on_the_first_place_and_on_nothing_else():
    rng = np.random.default_rng(3)
    owner = np.sort(rng.integers(0, 12, 90))
    owner[:12] = np.arange(12)
    scores = rng.integers(0, 40, (90, 12)).astype(np.float32)
    found = ranks.video_to_caption(scores, owner, videos=[str(n) for n in range(12)])
    for video in range(12):
        best = scores[owner == video, video].max()
        others = scores[owner != video, video]
        assert found.optimistic[video] == 1 + (others > best).sum()
        assert found.pessimistic[video] == 1 + (others >= best).sum()
    sets = ranks.video_to_text(scores, owner, videos=[str(n) for n in range(12)])
    assert ((found.pessimistic == 1) == (sets.pessimistic == 1)).all() and (found.pessimistic > sets.pessimistic).any()
    with pytest.raises(ValueError, match="query '5' are NaN"):
        ranks.video_to_caption(np.where(np.arange(12) == 5, np.float32("nan"), scores), owner, videos=[str(n) for n in range(12)])


def test_equals_a_naive_loop_on_random_scores_with_many_ties():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 5, (40, 30)).astype(np.float32), rng.integers(0, 30, 40)
    found_ranks = ranks.rank(scores, truth, names=[str(i) for i in range(40)])
    for row in range(40):
        places = [1 + place for place, value in enumerate(sorted(scores[row], reverse=True)) if value == scores[row, truth[row]]]
        assert found_ranks.mean[row] == np.mean(places)
        assert (found_ranks.optimistic[row], found_ranks.pessimistic[row]) == (min(places), max(places))


def test_probe_counts_scores_closer_than_a_millionth_as_half():
    own, twin = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.4, 0.6, 0.5 + 9e-7, 0.5 - 2e-6])
    found = metrics.probe(own, twin, np.arange(4), **INTERVAL)
    assert (found["accuracy"], found["ties"], found["captions"]) == (62.5, 1, 4)
    assert metrics.probe(own[:0], twin[:0], np.arange(0), **INTERVAL) is None


def test_bootstrap_covers_the_binomial_interval_and_resamples_whole_videos():
    hits = np.repeat([1.0, 0.0], 200)
    low, high = metrics.bootstrap(hits, np.arange(400), **INTERVAL)
    # half of 400 queries: 1.96 standard errors of 2.5 points
    assert abs(low - 45.1) < 1 and abs(high - 54.9) < 1
    wide = metrics.bootstrap(hits, np.arange(400) // 20, **INTERVAL)
    assert wide[1] - wide[0] > 3 * (high - low)


def test_an_interval_of_no_or_all_hits_is_wilsons_of_as_many_trials_as_videos():
    for videos in (1, 2, 5, 9, 300):
        clusters = np.repeat(np.arange(videos), 20)
        all_hit = metrics.bootstrap(np.ones(20 * videos), clusters, **INTERVAL)
        none = metrics.bootstrap(np.zeros(20 * videos), clusters, **INTERVAL)
        # z**2 = 3.841459 at 95 %
        assert all_hit == pytest.approx([100 * videos / (videos + 3.841459), 100], abs=1e-3)
        assert none == pytest.approx([0, 100 * 3.841459 / (videos + 3.841459)], abs=1e-3)


def test_one_video_of_many_captions_and_videos_that_all_do_alike_are_not_certain_either():
    half = np.tile([1.0, 0.0], 10)
    assert metrics.bootstrap(half, np.zeros(20, int), **INTERVAL) == pytest.approx([5.46, 94.54], abs=0.01)
    low, high = metrics.bootstrap(half, np.arange(20) // 2, **INTERVAL)
    assert low < 30 and high > 70


@pytest.mark.parametrize("gallery", [1, 2, 5, 9, 11])
def test_of_a_perfect_and_of_a_hopeless_method_no_interval_has_no_width(gallery):
    perfect = ranks.rank(np.eye(gallery, dtype=np.float32), np.arange(gallery), names="abcdefghijk")
    last = ranks.rank(-np.eye(gallery, dtype=np.float32), np.arange(gallery), names="abcdefghijk")
    for places in (perfect, last):
        found = metrics.summary(places, np.arange(gallery), **INTERVAL)
        for name in ("R1", "RSum"):
            low, high = found[f"{name}_ci"]
            assert low < high and low <= found[name] <= high
    assert metrics.summary(perfect, np.arange(gallery), **INTERVAL)["RSum_ci"][1] == 300


def test_one_query_is_one_trial():
    found = metrics.summary(ranks.rank(matrix([[0.9, 0.1]]), np.array([0]), names="a"), np.array([7]), **INTERVAL)
    assert (found["R1"], found["R1_ci"]) == (100, [pytest.approx(100 / 4.841459, abs=1e-2), 100])


def test_a_probe_of_ties_only_is_half_for_sure_and_one_of_wins_only_is_not_sure():
    same = np.full(6, 0.5)
    assert metrics.probe(same, same, np.arange(6), **INTERVAL)["ci"] == [50, 50]
    assert metrics.probe(same, same - 1, np.arange(6), **INTERVAL)["ci"] == [pytest.approx(60.97, abs=0.01), 100]


@pytest.mark.parametrize(
    ("gallery", "names"),
    [(1, ["R@1", "R@5", "R@10"]), (2, ["R@5", "R@10"]), (5, ["R@5", "R@10"]), (9, ["R@10"]), (10, ["R@10"]), (11, []), (1000, [])],
)
def test_what_means_nothing_in_a_small_gallery_is_said_and_is_full_marks_for_the_worst(gallery, names):
    worst = ranks.rank(-np.eye(gallery, dtype=np.float32), np.arange(gallery), names=[str(n) for n in range(gallery)])
    found = metrics.summary(worst, np.arange(gallery), **INTERVAL)
    assert small.meaningless(gallery) == names == [f"R@{k}" for k in (1, 5, 10) if found[f"R{k}"] == 100]
    said = small.warning(gallery)
    assert bool(said) == bool(names) and all(name in said for name in names)
    if gallery == 2:
        assert said == ("The gallery has 2 videos: R@5 and R@10 are 100 % whatever a method does, and mean nothing; R-Sum holds them, too.")
    if gallery == 1:
        assert said.startswith("The gallery has 1 video: R@1, R@5 and R@10 are")
