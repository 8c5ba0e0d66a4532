"""Our runs beside the numbers that papers print of them, and why the two may differ (docs/reproducing.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config import papers, recipes
from pipeline.config.papers import Printed
from pipeline.config.schema import Score
from pipeline.core.formatting import aligned
from pipeline.evaluation import metrics
from pipeline.evaluation.compare import RECALLS, outcomes, shares
from pipeline.evaluation.embeddings import Embeddings

ROUNDING = 0.05  # of a printed number, which has one decimal
SHOWN = {"R1": "R@1", "R5": "R@5", "R10": "R@10", "RSum": "R-Sum"}
PAGE = "docs/reproducing.md"


@dataclass(frozen=True)
class Estimate:
    """Our value, a mean over seeds, and its interval over the test videos, None where there is none (ranks)."""

    value: float
    interval: tuple[float, float] | None = None

    def holds(self, printed: float) -> str:
        """`inside` or `outside`, "" without an interval."""
        if self.interval is None:
            return ""
        low, high = self.interval
        return "inside" if low - ROUNDING <= printed <= high + ROUNDING else "outside"


@dataclass(frozen=True)
class Line:
    """One printed number and ours; `tables` of a paper that all print it."""

    paper: str
    tables: str
    direction: str
    metric: str
    printed: str
    ours: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One run against all papers. `refused`: why nothing is compared, "" where something is. `reasons`: heading of PAGE -> sentence."""

    label: str
    lines: Sequence[Line]
    reasons: Mapping[str, str]
    refused: str = ""


def estimates(seeds: Iterable[Embeddings], *, scored: Sequence[Mapping[str, Any]], settings: Score) -> dict[tuple[str, str], Estimate]:
    """(direction, metric) -> our value over all seeds of one run; `scored` holds what their metrics.json say.

    The interval is a percentile bootstrap of whole videos, with the hits of a video averaged over seeds before. Other seeds are not in it.
    """
    found = [outcomes(made) for made in seeds]
    hits, sizes = np.mean([hit for hit, _ in found], axis=0), found[0][1]
    values = shares(hits, sizes).sum(axis=0)
    draws = metrics.resampled(hits[:, :6], sizes[:, :6], resamples=settings.bootstrap, seed=settings.seed)
    made = {}
    for way in ("t2v", "v2t"):
        own = [n for n, (other, _) in enumerate(RECALLS) if other == way]
        for name, columns in [(f"R{RECALLS[n][1]}", [n]) for n in own] + [("RSum", own)]:
            made[way, name] = _estimate(float(values[columns].sum()), draws[:, columns].sum(axis=1), videos=len(sizes), settings=settings)
        for name in ("MdR", "MnR"):
            made[way, name] = Estimate(float(np.mean([about[way][name] for about in scored])))
    return made


def _estimate(value: float, draws: "np.ndarray[Any, Any]", *, videos: int, settings: Score) -> Estimate:
    low, high = metrics.interval(draws, confidence=settings.confidence)
    if high - low < 1e-9:  # not a hit, or nothing but hits
        most = 3 if value > 100 else 1
        low, high = (100 * most * end for end in metrics.wilson(value / (100 * most), trials=videos, confidence=settings.confidence))
    return Estimate(value, (low, high))


def against(
    label: str,
    seeds: Iterable[Embeddings],
    *,
    scored: Sequence[Mapping[str, Any]],
    settings: Score,
    run: str,
    place: tuple[str, str, str],
    validation: str,
    printed: Sequence[Printed],
) -> Comparison | None:
    """`run` against the papers that print it, None where none does. `seeds`, `scored`, `settings`: as for `estimates`, which are made
    where something is compared; `place`: its dataset, variant ("" is the first) and backbone; `validation`: of the dataset.

    Numbers of another backbone are not compared: then it says so.
    """
    dataset, variant, backbone = place
    known = [
        cell for cell in printed if (cell.run, cell.dataset, cell.variant) == (run, dataset, variant) and cell.metric in papers.METRICS
    ]
    same = [cell for cell in known if cell.backbone == backbone]
    if not known:
        return None
    if not same:
        others = ", ".join(sorted({cell.backbone for cell in known}))
        return Comparison(label, [], {}, f"{label} is published with {others}, and this run is of {backbone}: not compared")
    ours = estimates(seeds, scored=scored, settings=settings)
    return Comparison(label, _lines(same, ours), reasons(run, dataset, validation=validation, seeds=len(scored), printed=same))


def _lines(same: Sequence[Printed], ours: Mapping[tuple[str, str], Estimate]) -> list[Line]:
    tables: dict[tuple[str, str, str, float, float | None], list[str]] = {}
    # What two tables print of a run is one line; where only one has the deviation over seeds, both mean it.
    spread = {(c.paper, c.direction, c.metric, c.value): c.deviation for c in same if c.deviation is not None}
    for cell in same:
        key = (cell.paper, cell.direction, cell.metric, cell.value)
        tables.setdefault((*key, spread.get(key)), []).append(cell.table)
    lines = []
    for (paper, way, metric, value, deviation), places in tables.items():
        mine = ours[way, metric]
        said = f"{value:g}" + (f" ± {deviation:g}" if deviation is not None else "")
        interval = f"{mine.interval[0]:.1f} to {mine.interval[1]:.1f}" if mine.interval else "\u2013"
        ends = (f"{mine.value:.1f}", interval, mine.holds(value) or "\u2013")
        lines.append(Line(paper, ", ".join(dict.fromkeys(places)), way, SHOWN.get(metric, metric), said, *ends))
    return lines


def reasons(run: str, dataset: str, *, validation: str, seeds: int, printed: Sequence[Printed]) -> dict[str, str]:
    """Why ours may differ from what is printed: heading of PAGE, as its address, -> sentence."""
    train, ours = recipes.part(run, dataset).train, recipes.load()[run].ours.train if "@" in run else {}
    found = {"selection-on-the-test-set": "The releases keep the epoch that is best on the test set; ours never sees it."}
    found["ties"] = "The releases count tied ranks as several, or in any order; here they take the mean of their places."
    found["frames-and-transcoding"] = "Other decoders and transcodes give other frames."
    if train.get("optimiser") == "bert_adam" and not train.get("half"):
        found["the-half-precision-optimiser"] = "The release trains in float16, where its optimiser is not Adam; the recipe is in float32."
    if {"lr", "clip_lr"} & ours.keys():
        found["rates-that-are-not-stated"] = "The source does not state all learning rates; the recipe's are ours."
    if validation == "clean":
        found["validation-videos"] = "The papers train on the official validation videos; here they are held out."
    if seeds < 3:
        found["seeds"] = f"Ours is of {seeds} seed{'s' * (seeds != 1)}, and what another one would change is in no interval."
    notes = dict.fromkeys(cell.why for cell in printed if cell.why)
    return found | ({"rows-that-are-not-quite-the-run": "; ".join(notes)} if notes else {})


def to_text(found: Sequence[Comparison]) -> str:
    """The same for a terminal."""
    parts = []
    for one in found:
        rows = [[x.paper, x.tables, x.direction, x.metric, x.printed, x.ours, x.interval, x.verdict] for x in one.lines]
        head = ["paper", "table", "", "metric", "printed", "ours", "interval", ""]
        why = [f"{said} {PAGE}#{heading}" for heading, said in one.reasons.items()]
        parts.append("\n".join([one.label, aligned([head, *rows], left=4).rstrip(), *why]) if rows else one.refused)
    return "\n\n".join(parts)
