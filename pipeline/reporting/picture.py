"""The picture of a table of records, as SVG: R-Sum against trained parameters, and which method sees the order of frames."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.core.formatting import count, tenth
from pipeline.reporting.charts import linear, logarithmic, place
from pipeline.reporting.records import Entry
from pipeline.reporting.templates import rendered

COLOURS = ("#1f6fb4", "#c8460f")  # blind to time, sees it
WIDTH = 960
BARS = {True: "bars: deviation over seeds", False: ""}


def scatter(entries: Sequence[Entry], *, table: pd.DataFrame) -> str:
    """`table` is the `results.table` of these records. Higher the more they are, so that each has room for its name."""
    width, height = WIDTH, 440 + 8 * max(0, len(table) - 10)
    box = (64, 40, width - 20, height - 84)
    sees = {entry.run: bool(entry.content["sees_time"]) for entry in entries}
    spread = table["RSum_std"].fillna(0.0)
    y = linear([*(table["RSum"] - spread), *(table["RSum"] + spread)], start=box[3], end=box[1])
    trained = table[table["trainable"] > 0]
    x = logarithmic([*trained["trainable"]] or [1.0, 1e6], start=box[0], end=box[2])
    points = [_point(row, x.at(row["trainable"]), y, sees_time=sees[row["method"]]) for _, row in trained.iterrows()]
    nothing = table[table["trainable"] == 0]
    levels = [{"y": y.at(row["RSum"]), "label": f"{row['label']} {tenth(row['RSum'])}"} for _, row in nothing.iterrows()]
    place(points, levels, box)
    head = entries[0]
    title = f"{head.dataset}, {head.backbone}: R-Sum against trained parameters"
    several = bool((table["seeds"] > 1).any())
    drawn = {"x": x.ticks(), "y": y.ticks(), "points": points, "levels": levels, "bars": BARS[several]}
    return rendered("picture.svg.j2", width=width, height=height, box=box, title=title, colours=COLOURS, **drawn) + "\n"


def _point(row: "pd.Series[Any]", x: float, y: Any, *, sees_time: bool) -> dict[str, Any]:
    spread = 0.0 if math.isnan(row["RSum_std"]) else row["RSum_std"]
    told = f"{row['label']}: R-Sum {tenth(row['RSum'])}, {count(row['trainable'])} parameters"
    heights = {"y": y.at(row["RSum"]), "low": y.at(row["RSum"] - spread), "high": y.at(row["RSum"] + spread)}
    return {"label": row["label"], "x": x, "title": told, "sees_time": sees_time, "colour": COLOURS[sees_time], **heights}
