"""Tables of the parts of a test set that others rank: one for each, never in one with the whole or with each other."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from pipeline.core.formatting import tenth
from pipeline.reporting.apart import Table
from pipeline.reporting.results import Result

RANKED = {
    "queries": "captions of {asked:,} listed videos against all {gallery:,} test videos",
    "gallery": "{gallery:,} listed videos and their captions among themselves",
}
HEAD = ("Method", "R@1", "R@5", "R@10", "MdR", "v2t R@1", "R-Sum", "Probe")


def tables(groups: Mapping[str, Sequence[Result]]) -> list[Table]:
    """One table a named gallery, of the methods `groups` (label -> runs). ValueError where the runs did not rank the same."""
    names = dict.fromkeys(name for runs in groups.values() for run in runs for name in run.metrics.get("galleries", {}))
    return [_table(name, groups) for name in names]


def _table(name: str, groups: Mapping[str, Sequence[Result]]) -> Table:
    blocks: dict[str, list[dict[str, Any]]] = {}
    first: dict[str, Any] | None = None
    for label, runs in groups.items():
        for run in runs:
            block = run.metrics.get("galleries", {}).get(name)
            first = first or block
            if block is None or first is None or _task(block) != _task(first):
                raise ValueError(f"{run.folder} was not scored on the same gallery {name!r} as other runs; score all of them again")
            blocks.setdefault(label, []).append(block)
    assert first is not None, "the name is of a run"
    return Table(f"Another gallery: {name}", _about(first), HEAD, [_row(label, found) for label, found in blocks.items()])


def _task(block: Mapping[str, Any]) -> tuple[Any, ...]:
    return block["ranked"], block["list_hash"], block["gallery_hash"]


def _about(block: Mapping[str, Any]) -> str:
    said = RANKED[block["ranked"]].format(asked=block["listed"] - block["missing"], gallery=block["gallery"])
    lost = f", {block['missing']:,} more have no clip" if block["missing"] else ""
    hashes = f"list {block['list_hash'][:12]}, gallery {block['gallery_hash'][:12]}"
    return f"Not comparable with the table above: {said}{lost}; {block['queries']:,} captions ask ({hashes}). Means over seeds."


def _row(label: str, blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    values = [[b["t2v"][key] for b in blocks] for key in ("R1", "R5", "R10", "MdR")]
    values += [[b["v2t"]["R1"] for b in blocks], [b["t2v"]["RSum"] + b["v2t"]["RSum"] for b in blocks]]
    probes = [b["probe"]["accuracy"] for b in blocks if b["probe"]]
    return [label, *(tenth(mean(column)) for column in values), tenth(mean(probes)) if probes else "\u2013"]
