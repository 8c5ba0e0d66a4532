"""The nearest of many: all ties in order, and an approximate search that says what it misses."""

import faiss
import numpy as np
import pytest
import torch

from pipeline.adapters.encoder import Encoded
from pipeline.evaluation.similarity import query_scores
from pipeline.search import nearest
from pipeline.search.nearest import Approximate


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("k", [0, 1, 3, 10, 50, 80])
def test_the_best_are_those_of_a_stable_sort(k):
    generator = np.random.default_rng(k)
    for _ in range(50):
        scores = generator.integers(0, 6, 50).astype(np.float32)
        np.testing.assert_array_equal(nearest.best(scores, k), np.argsort(-scores, kind="stable")[:k])


@pytest.mark.parametrize("number", [1, 7, 14, 670, 1001])
def test_equal_vectors_have_equal_scores_wherever_they_stand(number):
    generator = np.random.default_rng(0)
    vectors, query = np.repeat(unit(generator.normal(size=(1, 512))), number, axis=0), unit(generator.normal(size=(1, 512)))[0]
    scores = nearest.products(vectors, query)
    assert len(set(scores.tolist())) == 1
    np.testing.assert_allclose(scores, vectors.astype(np.float64) @ query, atol=1e-6)


def test_a_video_asks_with_the_mean_of_its_real_frames_where_texts_weigh_frames():
    frames, mask = np.zeros((1, 3, 2), np.float32), np.array([[True, True, False]])
    frames[0] = [[1, 0], [3, 2], [100, 100]]
    np.testing.assert_array_equal(nearest.vector(Encoded(None, frames, mask)), [[2, 1]])


def test_weighed_scores_are_those_of_evaluation():
    generator = np.random.default_rng(0)
    texts, frames = (generator.normal(size=size).astype(np.float32) for size in ((3, 8), (5, 4, 8)))
    mask = np.ones((5, 4), bool)
    mask[::2, 3] = False
    expected = query_scores(torch.from_numpy(texts), torch.from_numpy(frames), mask=torch.from_numpy(mask), temperature=5.0)
    np.testing.assert_array_equal(nearest.weighed(texts, Encoded(None, frames, mask), temperature=5.0), expected.numpy())


@pytest.fixture(scope="module")
def many():
    """Clusters, and queries near members of them."""
    generator = np.random.default_rng(0)
    centres = unit(generator.normal(size=(40, 32)))
    vectors = unit(centres[generator.integers(0, 40, 4000)] + 0.5 * unit(generator.normal(size=(4000, 32))))
    return vectors, unit(vectors[:60] + 0.3 * unit(generator.normal(size=(60, 32))))


def test_the_recall_that_is_written_down_is_the_one_of_a_search(many):
    vectors, queries = many
    made = Approximate.build(vectors, queries, queries_from="captions")
    assert made.settings["kind"] == "approximate" and made.settings["recall_at_10"] >= nearest.WANTED
    read = Approximate.read(np.frombuffer(made.content(), np.uint8), number=4000, width=32, settings=made.settings)
    found = 0
    for query in queries:
        rows = read.candidates(query, 11)
        assert len(rows) < len(vectors) / 2
        rows = rows[nearest.best(nearest.products(vectors[rows], query), 10)]
        found += len({*rows.tolist()} & {*np.argsort(-(vectors @ query))[:10].tolist()})
    assert found / (10 * len(queries)) == pytest.approx(made.settings["recall_at_10"], abs=1e-9)


def test_a_video_that_looks_for_others_does_not_count_itself(many):
    vectors, _ = many
    made = Approximate.build(vectors, vectors[:30], queries_from="videos", without=np.arange(30))
    assert 0 not in made.nearest(vectors, vectors[0], 0)
    assert 0 in made.nearest(vectors, vectors[0], -1)
    assert made.settings["queries_from"] == "videos"


def test_an_index_that_finds_too_little_is_not_used(many, monkeypatch):
    monkeypatch.setattr(nearest, "WANTED", 1.1)
    made = Approximate.build(*many, queries_from="captions")
    assert made.settings["kind"] == "exact" and "of the 10 best" in made.settings["reason"]


def test_an_index_of_other_vectors_is_refused(many):
    vectors, queries = many
    content = np.frombuffer(Approximate.build(vectors, queries, queries_from="captions").content(), np.uint8)
    with pytest.raises(ValueError, match="4000 vectors of 32 numbers, not 3999 of 32"):
        Approximate.read(content, number=3999, width=32, settings={})
    flat = faiss.IndexFlatIP(32)
    flat.add(vectors)
    with pytest.raises(ValueError, match="approximate index"):
        Approximate.read(faiss.serialize_index(flat), number=4000, width=32, settings={})
