"""Two methods on the queries that both were scored on: the difference of each metric, how certain it is, and how likely by chance.

Captions of one video are not independent, so videos are what is drawn and what is exchanged. V videos, S seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Score
from pipeline.core.files import read_json
from pipeline.evaluation import embeddings, metrics, ranks, small
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.ranks import Doubles, Integers
from pipeline.evaluation.score import gallery_hash
from pipeline.evaluation.validation import similarities, twin_scores

RECALLS = tuple((way, k) for way in ("t2v", "v2t") for k in small.CUTOFFS)
NAMES = (*(f"{way}_R{k}" for way, k in RECALLS), "RSum", "probe")
# Two runs that differ in one of these were not asked the same.
SAME = {
    "gallery_hash": "score both again on one gallery",
    "missing_hash": "score both again with one list of missing videos",
    "queries": "score both again on one test set",
    "backbone_digest": "train both again on one backbone",
}
ROUNDING = 1e-3  # percent: metrics.json has four decimals
EPSILON = 1e-9  # percent: sums in another order are not another difference


@dataclass(frozen=True)
class Run:
    """One scored run. `hits` and `sizes` (V, 7) are, for each video, the queries that are right and all: six recalls, the probe.

    `values` (8,) are its metrics in percent, in the order of NAMES; the probe is NaN where no caption names a direction.
    """

    folder: Path
    metrics: dict[str, Any]
    values: Doubles
    hits: Doubles
    sizes: Integers


@dataclass(frozen=True)
class Difference:
    """A metric of a and of b, b - a with its interval, its p value, and the p value that Holm's procedure corrected."""

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def load(folder: Path) -> Run:
    """The run in `folder`. ValueError names a file that is missing, or a metrics.json that is not of the embeddings beside it."""
    scored, stored = folder / "metrics.json", folder / "embeddings.h5"
    for path in (scored, stored):
        if not path.is_file():
            raise ValueError(f"there is no {path}; make it with: snakemake --cores all {path}")
    about, (made, _) = read_json(scored), embeddings.load(stored)
    run = Run(folder, about, recorded(about, source=scored), *outcomes(made))
    again = shares(run.hits, run.sizes).sum(axis=0)
    apart = np.flatnonzero(~np.isclose(run.values, again, rtol=0, atol=ROUNDING, equal_nan=True))
    if len(apart):
        name, said, found = (of[apart[0]] for of in (NAMES, run.values, again))
        raise ValueError(f"{scored} says {name} {said:.4f}, and the embeddings beside it give {found:.4f}; delete it and score again")
    if about["gallery_hash"] != gallery_hash(made):
        raise ValueError(f"{scored} has gallery_hash {about['gallery_hash']}, and {stored} {gallery_hash(made)}; score again")
    return run


def recorded(about: dict[str, Any], *, source: Path) -> Doubles:
    """The metrics (8,) that a metrics.json holds, in the order of NAMES. ValueError names what it lacks."""
    absent = [key for key in ("dataset", "backbone", "method", "seed", "probe", "t2v", "v2t", *SAME) if key not in about]
    if absent:
        raise ValueError(f"{source} lacks {absent[0]!r}; delete it and score again")
    recalls = [about[way][f"R{k}"] for way, k in RECALLS]
    probe = about["probe"]["accuracy"] if about["probe"] else np.nan
    return np.array([*recalls, about["t2v"]["RSum"] + about["v2t"]["RSum"], probe], dtype=np.float64)


def outcomes(made: Embeddings) -> tuple[Doubles, Integers]:
    """The sum and the number (V, 7) of each video's outcomes in six recalls and the probe, videos in the order of their names."""
    scores, rows, videos = similarities(made), made.video_of_text, len(made.video)
    t2v = ranks.text_to_video(scores, rows, captions=made.caption_id).mean
    v2t = ranks.video_to_text(scores, rows, videos=made.video_id).mean
    own, twin, directed = twin_scores(made)
    places = {"t2v": (t2v, rows), "v2t": (v2t, np.arange(videos))}
    counted = [(places[way][0] <= k, places[way][1]) for way, k in RECALLS] + [(ranks.wins(own, twin)[0], directed)]
    order = np.argsort(made.video_id)
    hits = [np.bincount(video, weights=hit, minlength=videos)[order] for hit, video in counted]
    sizes = [np.bincount(video, minlength=videos)[order] for _, video in counted]
    return np.stack(hits, axis=1).astype(np.float64), np.stack(sizes, axis=1)


def shares(hits: Doubles, sizes: Integers) -> Doubles:
    """The share of each video in each metric (V, 8), in percent: the columns add up to the metrics, RSum is that of both ways."""
    with np.errstate(invalid="ignore"):  # without a caption that names a direction the probe is 0/0
        part: Doubles = 100 * hits / sizes.sum(axis=0)
    return np.column_stack([part[:, :6], part[:, :6].sum(axis=1), part[:, 6]])


def refuse_other_queries(runs: Sequence[Run]) -> None:
    """ValueError, with both values, if two runs were not scored on the same videos, captions, missing list and backbone."""
    for run in runs[1:]:
        for key, remedy in SAME.items():
            mine, other = run.metrics[key], runs[0].metrics[key]
            if mine != other:
                raise ValueError(f"{runs[0].folder} has {key} {other} and {run.folder} {mine}; {remedy}")


def compare(a: Sequence[Run], b: Sequence[Run], *, settings: Score) -> list[Difference]:
    """Every metric that the runs have, of the seeds of method `a` and of those of method `b`.

    Outcomes are averaged over the seeds of each method first. The interval is a percentile bootstrap of b - a in which a video brings
    all its queries of both methods, so the two sides of RSum are drawn together. Where no draw differs from another it is `_unanimous`.
    The p value is that of a sign-flip test: were the
    methods alike, a and b could be exchanged in any video; it is (1 + exchanges with at least this difference) / (1 + resamples).

    All metrics are looked at together, and they hang on each other; Holm's correction holds whatever they depend on, so it is given
    beside the plain p value. It is careful here, because RSum is the sum of the others.

    ValueError if the runs were not scored on the same.
    """
    refuse_other_queries([*a, *b])
    hits = [np.mean([run.hits for run in runs], axis=0) for runs in (a, b)]
    sizes, change = a[0].sizes, hits[1] - hits[0]
    known = [n for n, name in enumerate(NAMES) if name != "probe" or sizes[:, 6].any()]
    values = [np.mean([run.values for run in runs], axis=0) for runs in (a, b)]
    spread = _intervals(change, sizes, sure=_sure(hits, sizes), settings=settings)
    p = exchanged(shares(change, sizes)[:, known], settings=settings)
    corrected, found = holm(p), []
    for n, plain, held in zip(known, p, corrected, strict=True):
        (one, two), (low, high) = ([round(float(x), 6) for x in pair] for pair in ((values[0][n], values[1][n]), spread[n]))
        found.append(Difference(NAMES[n], one, two, round(two - one, 6), low, high, float(plain), float(held)))
    return found


def _sure(hits: Sequence[Doubles], sizes: Integers) -> list[bool]:
    """Which of the six recalls and the probe (7,) differ by nothing on whatever videos.

    A gallery of K videos has no rank beyond K; two methods that cannot see the order of frames tie on every caption.
    """
    blind = all(np.array_equal(2 * side[:, 6], sizes[:, 6]) for side in hits)
    return [k >= len(sizes) for _, k in RECALLS] + [blind]


def _intervals(change: Doubles, sizes: Integers, *, sure: Sequence[bool], settings: Score) -> list[list[float]]:
    """The interval of each metric's difference; the probe's draws are of the videos that it asks about, as in metrics.json."""
    draws: dict[str, Any] = {"resamples": settings.bootstrap, "seed": settings.seed}
    recalls, asked = metrics.resampled(change[:, :6], sizes[:, :6], **draws), sizes[:, 6] > 0
    drawn = list(recalls.T)
    if asked.any():
        drawn.append(metrics.resampled(change[asked, 6:], sizes[asked, 6:], **draws)[:, 0])
    found = [metrics.interval(means, confidence=settings.confidence) for means in drawn]
    for n, (low, high) in enumerate(found):
        if high - low <= EPSILON and not sure[n]:
            trials = len(sizes) if n < 6 else int(asked.sum())
            found[n] = _unanimous(float(drawn[n][0]) / 100, trials=trials, confidence=settings.confidence)
    low, high = metrics.interval(recalls.sum(axis=1), confidence=settings.confidence)
    both = [low, high] if high - low > EPSILON else [sum(ends) for ends in zip(*found[:6], strict=True)]
    return [*found[:6], both, *found[6:]]


def _unanimous(change: float, *, trials: int, confidence: float) -> list[float]:
    """Interval in percent of a difference that is `change`, from -1 to 1, in each of so many videos, where a bootstrap has no width.

    It is the score interval of paired shares (Tango 1998) where no outcome differs, or all do: videos of which nothing was seen may yet
    go either way. Between these it is the wider one of shares that are taken from -1 to 1.
    """
    if abs(change) <= EPSILON:
        most = 100 * metrics.wilson(0.0, trials=trials, confidence=confidence)[1]
        return [-most, most]
    return [100 * (2 * end - 1) for end in metrics.wilson((1 + change) / 2, trials=trials, confidence=confidence)]


def exchanged(parts: Doubles, *, settings: Score) -> Doubles:
    """Two-sided p values (M,) of the sums of `parts` (V, M), each video's sign being as likely the other."""
    generator, videos = np.random.default_rng([settings.seed, 1]), len(parts)
    found, extreme = np.abs(parts.sum(axis=0)), np.zeros(parts.shape[1])
    for rows in metrics.chunks(settings.bootstrap, width=videos):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (rows, videos), dtype=np.int8)
        extreme += (np.abs(signs @ parts) >= found - EPSILON).sum(axis=0)
    return (1 + extreme) / (1 + settings.bootstrap)


def holm(p: Doubles) -> Doubles:
    """Holm's step-down correction of M p values: the smallest times M, the next times M - 1, never below the one before."""
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    corrected = np.empty_like(p)
    corrected[order] = steps
    return corrected
