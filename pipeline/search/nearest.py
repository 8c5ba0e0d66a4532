"""The nearest of many vectors: exact in small galleries, approximate in large ones, where FAISS proposes and exact scores decide.

V videos, T frames, Q texts, E embedding.
"""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch

from pipeline.adapters.encoder import Encoded
from pipeline.evaluation.similarity import query_scores

EXACT_UP_TO = 200_000  # videos: a scan of so many takes some ten milliseconds (docs/search.md)
WANTED = 0.99  # recall@10 that an approximate index must reach to be used
QUERIES = 500  # to measure it with
CANDIDATES = 100  # at least so many of the approximate ones are scored exactly
PROBED = (8, 16, 32, 64, 128, 256, 512)  # lists that are looked at; the first that reaches WANTED is taken
SHARE = 8  # more lists than this part of all take about as long as a scan
TRAINED_PER_LIST = 50
THREADS = 1  # FAISS has its own pool of threads, which would fight with torch's


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The places of the `k` highest scores, the highest first; equal ones in their order."""
    k = min(k, len(scores))
    if k < 1:
        return np.empty(0, np.int64)
    least = np.partition(scores, -k)[-k]
    places = np.flatnonzero(scores >= least)
    order: np.ndarray = places[np.lexsort((places, -scores[places]))][:k]
    return order


def products(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Inner products (V,). Equal vectors give equal bits, wherever they stand, which a product of matrices does not promise."""
    found: np.ndarray = np.einsum("ve,e->v", vectors, query)
    return found


def weighed(texts: np.ndarray, videos: Encoded, *, temperature: float) -> np.ndarray:
    """Scores (Q, V) where each text weighs the frames of each video."""
    frames, mask = torch.from_numpy(videos.frames), torch.from_numpy(videos.mask)
    return query_scores(torch.from_numpy(texts), frames, mask=mask, temperature=temperature).numpy()


def vector(videos: Encoded) -> np.ndarray:
    """(V, E): videos as queries. Where texts weigh frames, a video asks with the mean of its own."""
    if videos.video is not None:
        return videos.video
    weight = videos.mask[..., None].astype(np.float32)
    mean: np.ndarray = (videos.frames * weight).sum(axis=1) / weight.sum(axis=1)
    return mean


@dataclass(frozen=True)
class Approximate:
    """Lists of vectors that are near each other, a byte a number: it proposes candidates, whose exact scores are then computed."""

    index: Any
    settings: dict[str, Any]

    @classmethod
    def build(cls, vectors: np.ndarray, queries: np.ndarray, *, queries_from: str, without: np.ndarray | None = None) -> "Approximate":
        """For unit vectors (V, E). The share of the 10 best of `queries` (Q, E) that it finds is measured and noted in `settings`.

        `without` (Q,): where queries are videos, their own rows, which do not count. If no number of lists reaches WANTED, `settings`
        say so by the kind `exact`.
        """
        number, width = vectors.shape
        lists = min(int(2 ** round(np.log2(4 * np.sqrt(number)))), number)
        faiss.omp_set_num_threads(max(torch.get_num_threads(), THREADS))
        index: Any = faiss.index_factory(width, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # a small sample is no reason to warn: what is found is measured
        draw = np.random.default_rng(0).permutation(number)[: TRAINED_PER_LIST * lists]
        index.train(vectors[np.sort(draw)])
        index.add(vectors)
        truth = [_exact(vectors, query, own) for query, own in _with_own(queries, without)]
        for probed in [n for n in PROBED if SHARE * n <= lists] or [lists]:
            settings = {"kind": "approximate", "lists": lists, "probed": probed, "queries": len(queries), "queries_from": queries_from}
            made = cls(index, settings)
            found = [made.nearest(vectors, query, own) for query, own in _with_own(queries, without)]
            recall = float(np.mean([len({*a} & {*b}) / max(len(a), 1) for a, b in zip(truth, found, strict=True)]))
            made.settings["recall_at_10"] = recall
            if recall >= WANTED:
                return made
        return cls(index, {"kind": "exact", "reason": f"the approximate index finds {recall:.3f} of the 10 best, not {WANTED}"})

    @classmethod
    def read(cls, content: np.ndarray, *, number: int, width: int, settings: dict[str, Any]) -> "Approximate":
        """ValueError if it is not of `number` vectors of `width` numbers."""
        index = faiss.deserialize_index(np.ascontiguousarray(content))
        if (index.ntotal, index.d) != (number, width) or not isinstance(index, faiss.IndexIVF):
            raise ValueError(f"its approximate index holds {index.ntotal} vectors of {index.d} numbers, not {number} of {width}")
        return cls(index, settings)

    def content(self) -> bytes:
        return bytes(faiss.serialize_index(self.index))

    def candidates(self, query: np.ndarray, k: int) -> np.ndarray:
        """Rows among which the `k` nearest are likely to be, in their order."""
        faiss.omp_set_num_threads(THREADS)  # of this thread alone: each has its own number
        settings = faiss.SearchParametersIVF(nprobe=int(self.settings["probed"]))  # type: ignore[call-arg]
        _, rows = self.index.search(query[None].astype(np.float32), max(4 * k, CANDIDATES), params=settings)
        found: np.ndarray = np.unique(rows[rows >= 0])
        return found

    def nearest(self, vectors: np.ndarray, query: np.ndarray, own: int) -> list[int]:
        """The ten nearest rows, without `own`."""
        rows = self.candidates(query, 11)
        rows = rows[rows != own]
        found: list[int] = rows[best(products(vectors[rows], query), 10)].tolist()
        return found


def _with_own(queries: np.ndarray, without: np.ndarray | None) -> list[tuple[np.ndarray, int]]:
    own = [-1] * len(queries) if without is None else without.tolist()
    return list(zip(queries, own, strict=True))


def _exact(vectors: np.ndarray, query: np.ndarray, own: int) -> list[int]:
    found: list[int] = [row for row in best(products(vectors, query), 11).tolist() if row != own][:10]
    return found
