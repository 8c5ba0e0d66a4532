"""The finished seeds of one method as one small file with stable keys: what `dvc metrics` shows and compares.

Every value comes from the table of the report, so that both say the same.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.reporting import results as report

DIRECTIONS = {"t2v": ("R1", "R5", "R10", "MdR", "MnR"), "v2t": ("R1", "R5", "R10", "MdR", "MnR")}
SHARED = ("dataset", "backbone", "method", "queries", "gallery", "gallery_hash", "missing_hash")


def evaluation(results: Sequence[report.Result]) -> dict[str, Any]:
    """Means over the seeds of one method, in percent or ranks; `probe` is None where the dataset has no directed captions.

    `scored` names the embeddings of all seeds. ValueError for runs of several methods, or scored on different test sets.
    """
    report.refuse_mixed_galleries(results)
    rows = report.table(results)
    if len(rows) > 1:
        raise ValueError(f"{', '.join(rows['label'])} are several methods; give the seeds of one")
    row = rows.iloc[0]
    both = {way: {name: _mean(results, way, name) for name in names} for way, names in DIRECTIONS.items()}
    scored = hashlib.sha256("\n".join(sorted(r.metrics["embeddings"] for r in results)).encode())
    return {
        **{name: results[0].metrics[name] for name in SHARED},
        **both,
        "seeds": len(results),
        "RSum": round(float(row["RSum"]), 4),
        "probe": None if math.isnan(row["probe"]) else round(float(row["probe"]), 4),
        "cost": {name: float(row[name]) if name.endswith("share") else int(row[name]) for name in _known(row)},
        "scored": scored.hexdigest()[:16],
    }


def _known(row: "pd.Series[Any]") -> list[str]:
    """The counts that the runs have: those from before a column came lack it."""
    return [name for name in report.COUNTED if not math.isnan(row[name])]


def _mean(results: Sequence[report.Result], way: str, name: str) -> float:
    return round(math.fsum(r.metrics[way][name] for r in results) / len(results), 4)
