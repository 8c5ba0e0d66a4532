"""From embeddings to metrics: the temporal probe is blind by construction for methods that cannot see order."""

import math

import numpy as np
import pytest
import torch

from pipeline import methods
from pipeline.config.schema import Score
from pipeline.evaluation import embeddings
from pipeline.evaluation.embed import embed
from pipeline.evaluation.score import gallery_hash, score
from pipeline.evaluation.validation import similarities
from pipeline.inputs.split import Split
from tests.conftest import small_clip
from tests.training.planted import Memory

WORDS = 12
CPU = torch.device("cpu")


def directed_split(clip, videos=20):
    rng = np.random.default_rng(0)
    mask = np.ones((videos, 4), bool)
    mask[::5, 3] = False
    return Split(
        store=Memory(rng.integers(0, 256, (videos, 4, 3, 32, 32)).astype(np.uint8), mask),
        text=None,
        ids=clip.tokenize([f"a star number {i} moves to the left" for i in range(videos)], num_words=WORDS),
        video=np.arange(videos),
        directed=np.arange(videos) % 4 != 0,
        caption_ids=[f"c{i}" for i in range(videos)],
    )


def scored(name):
    torch.manual_seed(1)
    clip = methods.attach(small_clip(), methods.load(name, config={}), shape=methods.Shape(4, WORDS))
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    made = embed(clip, directed_split(clip), device=CPU)
    return score(made, settings=Score(bootstrap=50)), made


@pytest.mark.parametrize("name", ["zero_shot", "vop", "full_finetune"])
def test_a_method_that_cannot_see_the_order_of_frames_has_a_probe_of_exactly_half(name):
    found = scored(name)[0]["probe"]
    assert (found["accuracy"], found["ties"], found["captions"], found["ci"]) == (50.0, 15, 15, [50.0, 50.0])


def test_a_method_that_sees_the_order_breaks_every_tie():
    found = scored("mv_adapter")[0]["probe"]
    assert found["ties"] == 0


def test_the_probe_compares_each_caption_with_its_own_twin_by_hand():
    unit = np.eye(4, dtype=np.float32)
    made = embeddings.Embeddings(
        video=unit[:3],
        text=np.array([[1, 0, 0, 0], [0.6, 0, 0.8, 0], [0, 0, 1, 0]], np.float32),
        twin=np.stack([unit[3], unit[2]]),
        video_id=["a", "b", "c"],
        caption_id=["0", "1", "2"],
        video_of_text=np.array([0, 2, 2]),
        twin_of=np.array([0, 2]),
        directed=np.array([True, True, False]),
        mask=np.ones((3, 1), bool),
    )
    found = score(made, settings=Score(bootstrap=10))
    # caption 0: 1 against 0, a win; caption 1: 0.8 against 0.8, a tie
    assert (found["probe"]["accuracy"], found["probe"]["ties"]) == (75.0, 1)
    assert found["t2v"]["R1"] == 100.0 and "actions" not in found["probe"]
    named = embeddings.Embeddings(**vars(made) | {"action": ["moves", "sizes", ""]})
    kinds = score(named, settings=Score(bootstrap=10))["probe"]
    assert {name: (of["accuracy"], of["captions"], of["ties"]) for name, of in kinds.pop("actions").items()} == {
        "moves": (100.0, 1, 0),
        "sizes": (50.0, 1, 1),
    }
    assert kinds == found["probe"]
    asked = score(named, settings=Score(bootstrap=10), asked=np.array([False, True, True]))["probe"]["actions"]
    assert set(asked) == {"sizes"}, "of the videos that ask"


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_scores_are_rounded_once_whatever_the_number_of_threads(temperature):
    """Sums in float32 differ by the number of threads, and so did the rank of a caption whose best videos are all but level."""
    rng = np.random.default_rng(0)
    shape = (700, 64) if temperature is None else (700, 3, 64)
    video, text = rng.normal(size=shape).astype(np.float32), rng.normal(size=(700, 64)).astype(np.float32)
    mask = None if temperature is None else np.ones((700, 3), bool)
    ids = {"video_id": [f"v{n:03}" for n in range(700)], "caption_id": [f"{n:03}" for n in range(700)]}
    links = {"video_of_text": np.arange(700), "twin_of": np.array([1]), "directed": np.zeros(700, bool)}
    made = embeddings.Embeddings(video=video, text=text, twin=video[1:2], mask=mask, temperature=temperature, **links, **ids)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append(similarities(made))
    finally:
        torch.set_num_threads(before)
    assert found[0].dtype == np.float32 and np.array_equal(*found)
    queries, gallery = text[:20].astype(np.float64), video[:20].astype(np.float64)
    exact = [[math.fsum(q * v) if temperature is None else weighed(q, v, temperature) for v in gallery] for q in queries]
    assert np.array_equal(found[0][:20, :20], np.array(exact).astype(np.float32))


def weighed(query, frames, temperature):
    """The cosine of a query with the mean of frames, by the softmax of their products with it."""
    weight = np.exp(frames @ query / temperature)
    mean = (weight[:, None] * frames).sum(0) / weight.sum()
    return mean @ query / np.linalg.norm(mean) / np.linalg.norm(query)


def test_where_queries_weigh_the_frames_scores_equal_a_loop_over_pairs_and_twins_use_the_same_weights():
    rng = np.random.default_rng(0)
    video, text = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.normal(size=(3, 5)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]], bool)
    links = {"video_of_text": np.arange(3), "twin_of": np.array([1]), "directed": np.array([False, True, False])}
    ids = {"video_id": ["a", "b", "c"], "caption_id": ["0", "1", "2"]}
    made = embeddings.Embeddings(video=video, text=text, twin=video[1:2, [2, 1, 0, 3]], mask=mask, temperature=2.0, **links, **ids)

    expected = [[weighed(q, v[m], 2.0) for v, m in zip(video, mask, strict=True)] for q in text]
    np.testing.assert_allclose(similarities(made), expected, rtol=1e-5, atol=1e-6)
    # The same frames in another order weigh the same: a method whose features are those of single frames is blind to time.
    assert score(made, settings=Score(bootstrap=10))["probe"]["accuracy"] == 50.0


def test_the_hash_of_the_gallery_ignores_order_and_notices_a_missing_video():
    _, made = scored("zero_shot")
    turn = slice(None, None, -1)
    turned = embeddings.Embeddings(
        **vars(made) | {"video_id": made.video_id[turn], "caption_id": made.caption_id[turn], "video_of_text": np.arange(20)}
    )
    assert gallery_hash(turned) == gallery_hash(made)
    fewer = embeddings.Embeddings(**vars(made) | {"video_id": [*made.video_id[:-1], "other"]})
    assert gallery_hash(fewer) != gallery_hash(made)


def test_a_twin_that_is_not_a_number_is_an_error_that_names_the_caption():
    _, made = scored("mv_adapter")
    made.twin[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"the score of caption 'c3' with its video or its twin is NaN \(1 of 15\)"):
        score(made, settings=Score(bootstrap=10))


@pytest.mark.parametrize("temperature", [None, 5.0])
def test_embeddings_survive_the_file_and_a_damaged_file_is_named(tmp_path, temperature):
    made = embeddings.Embeddings(**vars(scored("zero_shot")[1]) | {"temperature": temperature})
    embeddings.save(tmp_path / "e.h5", made, attributes={"run": "x", "seed": 3})
    again, about = embeddings.load(tmp_path / "e.h5")
    assert about == {"run": "x", "seed": 3}
    assert all(np.array_equal(getattr(again, name), value) for name, value in vars(made).items())
    whole = (tmp_path / "e.h5").read_bytes()
    first = made.caption_id[0].encode()
    for broken in (whole[:900], whole.replace(first, b"\xb1" * len(first))):
        (tmp_path / "e.h5").write_bytes(broken)
        with pytest.raises(ValueError, match="e.h5 is not a readable file of embeddings"):
            embeddings.load(tmp_path / "e.h5")


def plain(videos, *, same=False):
    """One caption a video, each with its own video first, or `same`: all captions are equal, and so are all videos."""
    unit = np.eye(videos, dtype=np.float32)
    alike = np.ones((videos, videos), np.float32) / np.sqrt(np.float32(videos))
    return embeddings.Embeddings(
        video=alike if same else unit,
        text=alike if same else unit,
        twin=unit[:0],
        video_id=[f"v{n}" for n in range(videos)],
        caption_id=[f"c{n}" for n in range(videos)],
        video_of_text=np.arange(videos),
        twin_of=np.empty(0, np.int64),
        directed=np.zeros(videos, bool),
        mask=np.ones((videos, 1), bool),
    )


@pytest.mark.parametrize(("videos", "empty"), [(1, 3), (2, 2), (5, 2), (9, 1), (11, 0), (300, 0)])
def test_a_small_gallery_says_which_recalls_mean_nothing_and_no_interval_is_a_point(videos, empty):
    for made in (plain(videos), plain(videos, same=True)):
        found = score(made, settings=Score(bootstrap=50))
        assert found.get("meaningless", []) == ["R@1", "R@5", "R@10"][3 - empty :]
        for way in ("t2v", "v2t", "v2t_captions"):
            for name in ("R1", "RSum"):
                low, high = found[way][f"{name}_ci"]
                assert 0 <= low < high and low <= found[way][name] <= high


def test_where_all_is_equal_ties_say_what_luck_and_spite_would_make_of_it():
    found = score(plain(9, same=True), settings=Score(bootstrap=50))["t2v"]
    assert (found["R1"], found["R1_optimistic"], found["R1_pessimistic"]) == (0.0, 100.0, 0.0)
    assert found["R1_ci"] == [0.0, pytest.approx(100 * 3.841459 / 12.841459, abs=1e-3)]
