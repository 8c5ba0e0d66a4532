"""The part that is kept: runs that were trained on one dataset and tested on others without training, trained-on by tested-on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.config.registry import PLAIN
from pipeline.core.formatting import tenth
from pipeline.reporting.apart import Table

FIRST = ("Method", "Trained on")
Blocks = Mapping[str, Mapping[str, Any]]
Measure = Callable[[Mapping[str, Any]], float]
MEASURES: dict[str, Measure] = {
    "text to video R@1": lambda block: float(block["t2v"]["R1"]),
    "R-Sum": lambda block: float(block["RSum"]),
}
ABOUT = (
    "Each row was trained on one dataset, and is tested on the others without training, with the same frames and words; in brackets is "
    "what it has over zero-shot. Means over seeds. The card says which part of the other test sets training had seen."
)


def tables(found: Sequence[Mapping[str, Any]]) -> list[Table]:
    """A matrix for each measure, zero-shot first, of the files that rule evaluate writes; none where nothing was tested elsewhere.

    ValueError where runs were tested on different test sets of one dataset.
    """
    if not any("transfer" in run for run in found):
        return []
    rows = {(run["method"], run["dataset"]): {run["dataset"]: run} | run.get("transfer", {}) for run in found}
    names = list(dict.fromkeys([*(run["dataset"] for run in found), *(name for blocks in rows.values() for name in blocks)]))
    _refuse_other_sets(rows, names)
    plain = _plain(rows)
    trained = {key: blocks for key, blocks in rows.items() if key[0] != PLAIN}
    return [_table(title, measure, names, plain, trained) for title, measure in MEASURES.items()]


def _plain(rows: Mapping[tuple[str, str], Blocks]) -> dict[str, Mapping[str, Any]]:
    """Zero-shot on each dataset: from its own run, else from the first that was tested on it."""
    found: dict[str, Mapping[str, Any]] = {}
    for (method, own), blocks in rows.items():
        if method == PLAIN:
            found = {**blocks, **found, own: blocks[own]}
    return found


def _table(title: str, measure: Measure, names: Sequence[str], plain: Blocks, trained: Mapping[tuple[str, str], Blocks]) -> Table:
    def cell(name: str, blocks: Blocks) -> str:
        if name not in blocks:
            return "\u2013"
        more = f" ({measure(blocks[name]) - measure(plain[name]):+.1f})" if name in plain else ""
        return tenth(measure(blocks[name])) + more

    first = [PLAIN, "\u2013", *(tenth(measure(plain[name])) if name in plain else "\u2013" for name in names)]
    rows = [[method, own, *(cell(name, blocks) for name in names)] for (method, own), blocks in trained.items()]
    return Table(f"Transfer: {title}", ABOUT, (*FIRST, *names), [first, *rows])


def _refuse_other_sets(rows: Mapping[tuple[str, str], Blocks], names: Sequence[str]) -> None:
    for name in names:
        sets = {(block["gallery_hash"], block["missing_hash"]): key for key, blocks in rows.items() if (block := blocks.get(name))}
        if len(sets) > 1:
            (one, two), *_ = [[f"{method} of {own}" for method, own in sets.values()][:2]]
            raise ValueError(f"{one} and {two} were not tested on the same test set of {name}; run rules transfer and evaluate again")
