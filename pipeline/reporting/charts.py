"""The geometry of the report's figures, in pixels; the page's template draws it, so that text is escaped in one place."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.formatting import count, significant
from pipeline.core.layout import SPLITS
from pipeline.reporting.card.text import HISTOGRAMS, bins
from pipeline.reporting.plots import MEASURES

COLOURS = 8  # of the template's palette; the next eight methods repeat it with another dash
PLACES = (
    (11, 4, "start"),
    (-11, 4, "end"),
    (10, -9, "start"),
    (10, 17, "start"),
    (-10, -9, "end"),
    (-10, 17, "end"),
    (4, -21, "start"),
    (4, 29, "start"),
    (-4, -21, "end"),
    (-4, 29, "end"),
)
CHANCE = {"Probe on validation, %": 50.0}  # percent
LETTER, LINE = 7.2, 15  # pixels: the widest a label's letter is on average, and its height


@dataclass(frozen=True)
class Axis:
    """Data between `low` and `high` on pixels between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    step: float = 1.0
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of each tick."""
        if not self.log:
            number = round((self.high - self.low) / self.step)
            return [(self.at(self.low + i * self.step), f"{self.low + i * self.step:.10g}") for i in range(number + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1,) if len(powers) > 4 else (1, 3)
        values = [m * 10.0**p for p in powers for m in steps]
        return [(self.at(v), re.sub(r"\.0+$|\.0+(?= )", "", count(v))) for v in values if self.low <= v <= self.high]


def linear(values: Iterable[float], *, start: float, end: float, most: int = 5, whole: bool = False) -> Axis:
    """An axis of round numbers that holds all values, with about `most` steps; `whole` forbids fractions."""
    known = [v for v in values if not math.isnan(v)] or [0.0]
    low, high = min(known), max(known)
    rough = max((high - low) / most, abs(high) * 1e-3, 1e-6)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    step = max(1.0, step) if whole else step
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high if high > low else low + step, start, end, step)


def logarithmic(values: Sequence[float], *, start: float, end: float) -> Axis:
    """An axis with room on both sides of the values, which are positive."""
    room = max(0.12, 0.06 * math.log10(max(values) / min(values)))
    return Axis(min(values) / 10**room, max(values) * 10**room, start, end, log=True)


def styles(df: pd.DataFrame) -> dict[str, int]:
    """label -> number of its colour and dash, in the order of the table; what is not trained has none."""
    return {str(label): i for i, label in enumerate(df.loc[df["trainable"] > 0, "label"])}


def scatter(table: pd.DataFrame) -> dict[str, Any]:
    """R@1 against trained parameters, of a `plots.points`: points with their bars, and a level for each method that trains nothing."""
    width, height, box = 860, 430, (58, 18, 842, 376)
    y = linear([*table["low"], *table["high"]], start=box[3], end=box[1])
    trained = table[table["trainable"] > 0]
    x = logarithmic([*trained["trainable"]] or [1.0, 1e6], start=box[0], end=box[2])
    points = [
        {"label": row["label"], "x": x.at(row["trainable"]), "y": y.at(row["t2v_R1"]), "low": y.at(row["low"]), "high": y.at(row["high"])}
        | {"title": f"{row['label']}: R@1 {row['t2v_R1']:.1f} %, {count(row['trainable'])} parameters"}
        for _, row in trained.iterrows()
    ]
    levels = [
        {"y": y.at(row["t2v_R1"]), "label": f"{row['label']} {row['t2v_R1']:.1f}"} for _, row in table[table["trainable"] == 0].iterrows()
    ]
    place(points, levels, box)
    return {"width": width, "height": height, "box": box, "x": x.ticks(), "y": y.ticks(), "points": points, "levels": levels}


def place(points: list[dict[str, Any]], levels: list[dict[str, Any]], box: tuple[int, int, int, int]) -> None:
    """Put each label beside its point where it covers least of the points, bars, levels and labels placed before it."""
    taken = [(p["x"] - 8, p["y"] - 8, p["x"] + 8, p["y"] + 8) for p in points] * 3  # a hidden point is worse than a hidden name
    taken += [(p["x"] - 2, p["high"], p["x"] + 2, p["low"]) for p in points]
    taken += [(box[0], level["y"] - 2, box[2], level["y"] + 2) for level in levels]
    taken += [(box[2] - LETTER * len(level["label"]), level["y"] - LINE, box[2], level["y"]) for level in levels]
    for point in points:
        length = LETTER * len(point["label"])
        options = []
        for dx, dy, anchor in PLACES:
            left = point["x"] + dx - (length if anchor == "end" else 0)
            area = (left, point["y"] + dy - LINE + 3, left + length, point["y"] + dy + 3)
            outside = max(0.0, box[0] - area[0]) + max(0.0, area[2] - box[2]) + max(0.0, area[3] - box[3])
            options.append((sum(_overlap(area, other) for other in taken) + outside * LINE, dx, dy, anchor, area))
        _, dx, dy, anchor, area = min(options, key=lambda option: option[0])
        point |= {"dx": dx, "dy": dy, "anchor": anchor}
        taken.append(area)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def curves(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Panels of validation R@1, validation probe and training loss by epoch, of a `plots.curves`; one without any point is left out."""
    panels = []
    for title in MEASURES:
        rows = table[table["measure"] == title]
        lines = {str(label): [*zip(line["epoch"], line["value"], strict=True)] for label, line in rows.groupby("label", sort=False)}
        panels.append(_panel(title, lines, CHANCE.get(title)))
    return [panel for panel in panels if panel["lines"]]


def _panel(title: str, lines: Mapping[str, list[tuple[float, float]]], level: float | None) -> dict[str, Any]:
    width, height, box = 400, 290, (48, 14, 388, 246)
    values = [v for line in lines.values() for _, v in line] + ([] if level is None else [level, level - 4])
    epochs = [e for line in lines.values() for e, _ in line] or [1]
    y = linear(values, start=box[3], end=box[1])
    x = linear([*epochs, min(epochs) + 1], start=box[0] + 8, end=box[2] - 8, whole=True)
    drawn = [
        {"label": label, "points": [(x.at(e), y.at(v)) for e, v in line], "last": significant(line[-1][1])}
        for label, line in lines.items()
        if line
    ]
    shown = None if level is None else (y.at(level), f"{level:.0f} % is chance")
    return {
        "title": title,
        "width": width,
        "height": height,
        "box": box,
        "x": x.ticks(),
        "y": y.ticks(),
        "lines": drawn,
        "level": shown,
    }


def histograms(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Panels of durations and tokens, as shares of each split, so that large and small splits compare. A bin is as wide as any other.

    What was measured in no split has no panel.
    """
    return [_bars(kind, card) for kind in HISTOGRAMS if any(bins(card["histograms"][kind]))]


def _bars(kind: str, card: Mapping[str, Any]) -> dict[str, Any]:
    width, height, box = 560, 280, (44, 22, 540, 236)
    edges, columns = card["histograms"][kind]["edges"], card["histograms"][kind]["counts"]
    counts = {split: columns[split] for split in SPLITS if split in columns}
    shown = list(bins(card["histograms"][kind]))
    first, step = shown[0][0], (box[2] - box[0]) / len(shown)
    shares = {split: [100 * column[i] / max(1, sum(column)) for i, _ in shown] for split, column in counts.items()}
    y, thick = linear([0.0, *chain(*shares.values())], start=box[3], end=box[1]), 0.84 * step / len(shares)
    bars = [
        {"x": round(box[0] + step * (k + 0.08) + thick * colour, 1), "width": round(thick, 1), "colour": colour}
        | {"y": y.at(share), "height": round(box[3] - y.at(share), 1), "title": f"{split}, {label}: {counts[split][i]:,} ({share:.1f} %)"}
        for colour, split in enumerate(counts)
        for k, ((i, label), share) in enumerate(zip(shown, shares[split], strict=True))
    ]
    borders = ["0", *map(str, edges), "∞"][first : first + len(shown) + 1]
    cut = float(np.interp(card["words"], [0, *edges], range(len(edges) + 1), right=math.nan)) - first
    return {
        "title": HISTOGRAMS[kind], "unit": kind, "splits": list(counts), "bars": bars,
        "width": width, "height": height, "box": box, "y": y.ticks(),
        "x": [(round(box[0] + k * step, 1), text) for k, text in enumerate(borders)],
        "level": round(box[0] + cut * step, 1) if kind == "tokens" and 0 < cut <= len(shown) else None,
        "told": "; ".join(f"{split}: " + ", ".join(f"{label} {counts[split][i]:,}" for i, label in shown) for split in counts),
    }  # fmt: skip
