"""Where the right answer stands: ranks with ties, recalls, and who wins against its twin. Q queries (captions), G gallery (videos).

Apart from pipeline/evaluation/metrics.py, because training validates with these and must not run again when an interval is computed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

TIE = 1e-6  # scores of a clip and its twin that are closer than this say nothing about the direction of time


class NotANumber(ValueError):
    """A loss or a score that is NaN or infinite: the training diverged."""


@dataclass(frozen=True)
class Ranks:
    """Position of the right answer of each query, from 1: ties broken for it, against it, and the mean of the two (Q,)."""

    optimistic: Doubles
    pessimistic: Doubles

    @property
    def mean(self) -> Doubles:
        return (self.optimistic + self.pessimistic) / 2

    def of(self, queries: Integers) -> "Ranks":
        """The ranks of some of the queries, by their rows."""
        return Ranks(self.optimistic[queries], self.pessimistic[queries])


def rank(scores: Floats, truth: Integers, *, names: Sequence[str]) -> Ranks:
    """Scores (Q, G) and the right column of each row (Q,) -> ranks. NotANumber names a query whose scores are not numbers."""
    if scores.dtype != np.float32:
        raise ValueError(f"similarities are {scores.dtype}; ranks are taken from float32, where rounding makes no ties")
    _refuse_nan(scores, names)
    own = scores[np.arange(len(scores)), truth][:, None]
    above = (scores > own).sum(axis=1)
    tied = (scores == own).sum(axis=1) - 1
    return Ranks(optimistic=1.0 + above, pessimistic=1.0 + above + tied)


def _refuse_nan(scores: Floats, names: Sequence[str]) -> None:
    """NotANumber names the first query, a row of scores, that holds a NaN."""
    bad = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(bad):
        raise NotANumber(f"the similarities of query {names[bad[0]]!r} are NaN ({len(bad)} of {len(scores)} queries)")


def text_to_video(scores: Floats, video_of_text: Integers, *, captions: Sequence[str]) -> Ranks:
    """Every caption is a query against all videos."""
    return rank(scores, video_of_text, names=captions)


def video_to_text(scores: Floats, video_of_text: Integers, *, videos: Sequence[str]) -> Ranks:
    """Every video is a query against the sets of captions of all videos; a set scores as its best caption (CLIP4Clip)."""
    best = np.full((len(videos), len(videos)), -np.inf, np.float32)
    # NaN passes through maximum.at and is then found by `rank`.
    np.maximum.at(best, video_of_text, scores)
    return rank(np.ascontiguousarray(best.T), np.arange(len(videos)), names=videos)


def video_to_caption(scores: Floats, video_of_text: Integers, *, videos: Sequence[str]) -> Ranks:
    """Every video is a query against all captions; the best of its own counts (Frozen in Time). R@1 is that of `video_to_text`."""
    _refuse_nan(scores.T, videos)
    own = scores[np.arange(len(scores)), video_of_text]
    best = np.full(len(videos), -np.inf, np.float32)
    np.maximum.at(best, video_of_text, own)
    above = (scores > best).sum(axis=0)
    tied = (scores == best).sum(axis=0) - np.bincount(video_of_text, weights=own == best[video_of_text], minlength=len(videos))
    return Ranks(optimistic=1.0 + above, pessimistic=1.0 + above + tied)


def recall(ranks: Doubles, k: int) -> float:
    """Share of queries, in percent, whose right answer is among the first k."""
    return float(100 * np.mean(ranks <= k))


def wins(own: Doubles, twin: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Scores of captions with their clips and with the clips' twins (K,) -> 1 won, 0 lost, 0.5 tied; and which are tied."""
    difference = own.astype(np.float64) - twin.astype(np.float64)
    tied = np.abs(difference) <= TIE
    return np.where(tied, 0.5, difference > 0), tied
