"""The temporal probe by the kind of action that a caption names."""

from collections.abc import Mapping, Sequence
from statistics import mean

from pipeline.core.formatting import tenth
from pipeline.reporting.apart import Table
from pipeline.reporting.results import Result

TITLE = "The temporal probe by kind of action"
ABOUT = "The kind of action alone tells the direction of time. In percent, with the number of captions in brackets; means over seeds."


def tables(groups: Mapping[str, Sequence[Result]]) -> list[Table]:
    """The probes of the methods `groups` (label -> runs), which have one test set; none where nobody says what its captions name."""
    found = {label: [run.metrics["probe"] or {} for run in runs] for label, runs in groups.items()}
    first = next(iter(found.values()))[0]
    kinds = first.get("actions", {})
    if not kinds or not all(probe.get("actions", {}).keys() == kinds.keys() for probes in found.values() for probe in probes):
        return []
    head = [f"{name} ({asked['captions']})" for name, asked in {"all": first, **kinds}.items()]
    parts = {label: [probes, *([p["actions"][kind] for p in probes] for kind in kinds)] for label, probes in found.items()}
    rows = [[label, *(tenth(mean(p["accuracy"] for p in of)) for of in columns)] for label, columns in parts.items()]
    return [Table(TITLE, ABOUT, ["Method", *head], rows)]
