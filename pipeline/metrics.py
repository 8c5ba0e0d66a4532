"""From similarities to retrieval metrics, with ties, certainty and the temporal probe. Q queries (captions), G gallery (videos).

The definitions are those of docs/protocol.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

TIE = 1e-6  # scores of a clip and its twin that are closer than this say nothing about the direction of time


@dataclass(frozen=True)
class Ranks:
    """Position of the right answer of each query, from 1: ties broken for it, against it, and the mean of the two (Q,)."""

    optimistic: Doubles
    pessimistic: Doubles

    @property
    def mean(self) -> Doubles:
        return (self.optimistic + self.pessimistic) / 2


def rank(scores: Floats, truth: Integers, *, names: Sequence[str]) -> Ranks:
    """Scores (Q, G) and the right column of each row (Q,) -> ranks. ValueError names a query whose scores are not numbers."""
    if scores.dtype != np.float32:
        raise ValueError(f"similarities are {scores.dtype}; ranks are taken from float32, where rounding makes no ties")
    bad = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(bad):
        raise ValueError(f"the similarities of query {names[bad[0]]!r} are NaN ({len(bad)} of {len(scores)} queries)")
    own = scores[np.arange(len(scores)), truth][:, None]
    above = (scores > own).sum(axis=1)
    tied = (scores == own).sum(axis=1) - 1
    return Ranks(optimistic=1.0 + above, pessimistic=1.0 + above + tied)


def text_to_video(scores: Floats, video_of_text: Integers, *, captions: Sequence[str]) -> Ranks:
    """Every caption is a query against all videos."""
    return rank(scores, video_of_text, names=captions)


def video_to_text(scores: Floats, video_of_text: Integers, *, videos: Sequence[str]) -> Ranks:
    """Every video is a query against the sets of captions of all videos; a set scores as its best caption (CLIP4Clip)."""
    best = np.full((len(videos), len(videos)), -np.inf, np.float32)
    # NaN passes through maximum.at and is then found by `rank`.
    np.maximum.at(best, video_of_text, scores)
    return rank(np.ascontiguousarray(best.T), np.arange(len(videos)), names=videos)


def recall(ranks: Doubles, k: int) -> float:
    """Share of queries, in percent, whose right answer is among the first k."""
    return float(100 * np.mean(ranks <= k))


def summary(ranks: Ranks, clusters: Integers, *, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """R@1/5/10, R-Sum, median and mean rank, R@1 with ties broken for and against, and confidence intervals.

    `clusters` (Q,) is the video of each query: captions of one video are not independent, so whole videos are resampled.
    """
    mean = ranks.mean
    recalls = {f"R{k}": recall(mean, k) for k in (1, 5, 10)}
    hits = np.stack([mean <= k for k in (1, 5, 10)], axis=1).astype(np.float64)
    sums = hits.sum(axis=1)
    interval: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    return _rounded(
        {
            **recalls,
            "RSum": sum(recalls.values()),
            "MdR": float(np.median(mean)),
            "MnR": float(np.mean(mean)),
            "R1_optimistic": recall(ranks.optimistic, 1),
            "R1_pessimistic": recall(ranks.pessimistic, 1),
            "R1_ci": bootstrap(hits[:, 0], clusters, **interval),
            "RSum_ci": bootstrap(sums, clusters, **interval),
        }
    )


def probe(own: Floats, twin: Floats, clusters: Integers, *, resamples: int, confidence: float, seed: int) -> dict[str, Any] | None:
    """Temporal probe: do captions (K,) score their clip above the same frames in reverse order? None without such captions.

    Scores closer than 1e-6 count half, so a method that cannot see the order of frames has exactly 50 percent.
    """
    if not len(own):
        return None
    difference = own.astype(np.float64) - twin.astype(np.float64)
    tied = np.abs(difference) <= TIE
    wins = np.where(tied, 0.5, difference > 0)
    ci = bootstrap(wins, clusters, resamples=resamples, confidence=confidence, seed=seed)
    return _rounded({"accuracy": 100 * float(wins.mean()), "captions": len(wins), "ties": int(tied.sum()), "ci": ci})


def bootstrap(values: Doubles, clusters: Integers, *, resamples: int, confidence: float, seed: int) -> list[float]:
    """Percentile interval of 100 times the mean of `values` (Q,), resampling whole clusters (Q,)."""
    _, group = np.unique(clusters, return_inverse=True)
    totals, sizes = np.bincount(group, weights=values), np.bincount(group)
    draws = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    means = 100 * (draws @ totals) / (draws @ sizes)
    tail = (1 - confidence) / 2
    return [float(x) for x in np.quantile(means, (tail, 1 - tail))]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: [round(x, 4) for x in v] if isinstance(v, list) else round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
