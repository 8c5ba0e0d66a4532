"""From ranks to retrieval metrics with their certainty, and the temporal probe. Q queries (captions).

The definitions are those of docs/protocol.md.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from pipeline.evaluation.ranks import Doubles, Integers, Ranks, recall, wins
from pipeline.evaluation.small import CUTOFFS

CHUNK = 2**21  # entries of random draws at once: 16 MB


def summary(ranks: Ranks, clusters: Integers, *, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """R@1/5/10, R-Sum, median and mean rank, R@1 with ties broken for and against, and confidence intervals.

    `clusters` (Q,) is the video of each query: captions of one video are not independent, so whole videos are resampled.
    """
    mean = ranks.mean
    recalls = {f"R{k}": recall(mean, k) for k in CUTOFFS}
    hits = np.stack([mean <= k for k in CUTOFFS], axis=1).astype(np.float64)
    sums = hits.sum(axis=1)
    draws: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    return _rounded(
        {
            **recalls,
            "RSum": sum(recalls.values()),
            "MdR": float(np.median(mean)),
            "MnR": float(np.mean(mean)),
            "R1_optimistic": recall(ranks.optimistic, 1),
            "R1_pessimistic": recall(ranks.pessimistic, 1),
            "R1_ci": bootstrap(hits[:, 0], clusters, **draws),
            "RSum_ci": bootstrap(sums, clusters, most=len(CUTOFFS), **draws),
        }
    )


def probe(own: Doubles, twin: Doubles, clusters: Integers, *, resamples: int, confidence: float, seed: int) -> dict[str, Any] | None:
    """Temporal probe: do captions (K,) score their clip above the same frames in reverse order? None without such captions.

    Scores closer than 1e-6 count half, so a method that cannot see the order of frames has exactly 50 percent, on whatever videos: where
    all are tied, the interval is that point.
    """
    if not len(own):
        return None
    won, tied = wins(own, twin)
    ci = [50.0, 50.0] if tied.all() else bootstrap(won, clusters, resamples=resamples, confidence=confidence, seed=seed)
    return _rounded({"accuracy": 100 * float(won.mean()), "captions": len(won), "ties": int(tied.sum()), "ci": ci})


def bootstrap(values: Doubles, clusters: Integers, *, resamples: int, confidence: float, seed: int, most: float = 1.0) -> list[float]:
    """Percentile interval of 100 times the mean of `values` (Q,), each from 0 to `most`, resampling whole clusters (Q,).

    Where all resamples agree, as they do without a hit, with nothing but hits, or with one cluster, it would have no width: then it is
    Wilson's, of as many trials as there are clusters.
    """
    _, group = np.unique(clusters, return_inverse=True)
    totals, sizes = np.bincount(group, weights=values).astype(np.float64)[:, None], np.bincount(group)[:, None]
    low, high = interval(resampled(totals, sizes, resamples=resamples, seed=seed)[:, 0], confidence=confidence)
    if high > low:
        return [low, high]
    return [100 * most * end for end in wilson(float(values.mean()) / most, trials=len(sizes), confidence=confidence)]


def wilson(share: float, *, trials: int, confidence: float) -> tuple[float, float]:
    """Score interval of a share from 0 to 1 of `trials` (Wilson 1927): the shares that a normal test of this one would not refuse."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre, weight = share + z**2 / (2 * trials), 1 + z**2 / trials
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max(0.0, (centre - half) / weight), min(1.0, (centre + half) / weight)


def resampled(totals: Doubles, sizes: Integers, *, resamples: int, seed: int) -> Doubles:
    """100 times the means of M measures when whole clusters are drawn with replacement: (resamples, M).

    `totals` and `sizes` (C, M) are the sum and the number of each measure's values in each of C clusters. All measures share the draws.
    """
    generator, clusters = np.random.default_rng(seed), len(sizes)
    means = []
    for rows in chunks(resamples, width=clusters):
        draws = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=rows).astype(np.float64)
        means.append(100 * (draws @ totals) / (draws @ sizes))
    return np.concatenate(means)


def chunks(rows: int, *, width: int) -> list[int]:
    """Numbers of rows that add up to `rows`, each of at most CHUNK entries where a row has `width`."""
    most = max(1, CHUNK // width)
    return [min(most, rows - start) for start in range(0, rows, most)]


def interval(means: Doubles, *, confidence: float) -> list[float]:
    """The middle share `confidence` of resampled means."""
    tail = (1 - confidence) / 2
    return [float(x) for x in np.quantile(means, (tail, 1 - tail))]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: [round(x, 4) for x in v] if isinstance(v, list) else round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
