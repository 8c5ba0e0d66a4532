"""The temporal probe by the kind of action that a caption names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from pipeline.core.formatting import markdown, tenth
from pipeline.reporting.results import Result


@dataclass(frozen=True)
class Table:
    """Rows of text under `head`: a method, and its probe in percent over all captions and over those of each kind, means over seeds."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def table(groups: Mapping[str, Sequence[Result]]) -> Table | None:
    """The probes of the methods `groups` (label -> runs), which have one test set; None where no dataset says what its captions name."""
    found = {label: [run.metrics["probe"] or {} for run in runs] for label, runs in groups.items()}
    first = next(iter(found.values()))[0]
    kinds = first.get("actions", {})
    if not kinds or not all(probe.get("actions", {}).keys() == kinds.keys() for probes in found.values() for probe in probes):
        return None
    head = [f"{name} ({asked['captions']})" for name, asked in {"all": first, **kinds}.items()]
    parts = {label: [probes, *([p["actions"][kind] for p in probes] for kind in kinds)] for label, probes in found.items()}
    rows = [[label, *(tenth(mean(p["accuracy"] for p in of)) for of in columns)] for label, columns in parts.items()]
    return Table(["Method", *head], rows)


def to_markdown(found: Table | None) -> str:
    """The table as Markdown under a heading; nothing without one."""
    if found is None:
        return ""
    return f"\n## The temporal probe by kind of action\n\nPercent, of so many captions.\n\n{markdown(found.head, found.rows, right=True)}"
