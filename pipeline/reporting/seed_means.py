"""The finished seeds of one method as one small file with stable keys: what `dvc metrics` shows and compares.

Every value comes from the table of the report, so that both say the same.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.reporting import results as report

DIRECTIONS = {"t2v": ("R1", "R5", "R10", "MdR", "MnR"), "v2t": ("R1", "R5", "R10", "MdR", "MnR")}
RANKED = ("queries", "gallery", "gallery_hash", "missing_hash")
SHARED = ("dataset", "backbone", "method", *RANKED)


def evaluation(results: Sequence[report.Result]) -> dict[str, Any]:
    """Means over the seeds of one method, in percent or ranks; `probe` is None where the dataset has no directed captions.

    `scored` names the embeddings of all seeds. ValueError for runs of several methods, or scored on different test sets.
    """
    report.refuse_mixed_galleries(results)
    rows = report.table(results)
    if len(rows) > 1:
        raise ValueError(f"{', '.join(rows['label'])} are several methods; give the seeds of one")
    row = rows.iloc[0]
    both = _both([r.metrics for r in results])
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


def transfer(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Dataset -> the means over the seeds of one method that was tested on it without training. ValueError for different test sets."""
    return {name: _tested([test for test in tests if test["tested"] == name]) for name in dict.fromkeys(test["tested"] for test in tests)}


def _tested(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shared = {name: seeds[0][name] for name in RANKED}
    for other in seeds:
        if any(other[name] != value for name, value in shared.items()):
            raise ValueError(
                f"seeds {seeds[0]['seed']} and {other['seed']} of {other['method']} were tested on other test sets of {other['tested']}; "
                "delete their folders transfer/ and run rule transfer again"
            )
    both = _both(seeds)
    probes = [test["probe"]["accuracy"] for test in seeds if test["probe"]]
    total = {"RSum": round(sum(both[way][f"R{k}"] for way in both for k in (1, 5, 10)), 4)}
    return shared | both | total | {"seeds": len(seeds), "probe": round(math.fsum(probes) / len(probes), 4) if probes else None}


def _both(seeds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {way: {name: _mean(seeds, way, name) for name in names} for way, names in DIRECTIONS.items()}


def _mean(seeds: Sequence[Mapping[str, Any]], way: str, name: str) -> float:
    return round(math.fsum(metrics[way][name] for metrics in seeds) / len(seeds), 4)
