"""The report as one HTML file that needs no network."""

import base64
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.config.schema import Score
from pipeline.core.formatting import count
from pipeline.core.layout import SPLITS
from pipeline.reporting import noise, plots
from pipeline.reporting.against import PAGE, Comparison
from pipeline.reporting.apart import Table
from pipeline.reporting.card import text as card_text
from pipeline.reporting.charts import COLOURS, curves, histograms, scatter, styles
from pipeline.reporting.examples import FRAMES, Example
from pipeline.reporting.results import COLUMNS, Column, Result, cell, warnings
from pipeline.reporting.templates import rendered


def render(
    results: Sequence[Result],
    df: pd.DataFrame,
    *,
    shown: Sequence[Example],
    thumbnails: Mapping[str, str],
    score: Score | None,
    card: Mapping[str, Any],
    marked: Mapping[str, list[str]] = MappingProxyType({}),
    apart: Sequence[Table] = (),
    against: Sequence[Comparison] = (),
    root: str = ".",
) -> str:
    """The page. `df` is the `report.table` of `results`; `thumbnails` maps video ids to data URIs; `score` is how intervals were
    made, None if it is not known; `card` the facts of the dataset (`pipeline.reporting.card.facts`); `marked` the best methods of each
    column that was tested (`pipeline.reporting.noise.alike`), without which no metric has a best one; `apart` the tables of their own;
    `against` the runs that papers print; `root` the checkout as seen from the page, for links to docs/.

    ValueError for results of several datasets, and for a card of another dataset or of other missing videos.
    """
    if len(set(df["dataset"])) > 1:
        raise ValueError(f"one report is for one dataset, and these runs are of {', '.join(sorted(set(df['dataset'])))}")
    _refuse_other_card(results[0], card)
    labels = {tuple(row[["dataset", "backbone", "method"]]): str(row["label"]) for _, row in df.iterrows()}
    runs: dict[str, list[Result]] = {label: [] for label in labels.values()}
    for result in results:
        runs[labels[result.key]].append(result)
    number = {video: i for i, video in enumerate(thumbnails)}
    aspects = {video: _aspect(uri) for video, uri in thumbnails.items()}
    return rendered(
        "report.html.j2",
        facts=_facts(results), warnings=warnings(results, df), noise=noise.told(marked, methods=len(df)),
        named=len(df) == 1 or len(marked.get("t2v_R1", [])) < len(df),
        head=df.iloc[0], best=df.loc[df["t2v_R1"].idxmax()], runs=len(results), score=score,
        columns=COLUMNS, groups=_groups(), rows=_rows(df, marked), scatter=scatter(plots.points(df)),
        apart=apart, panels=curves(plots.curves(runs)), epochs=_epochs(results),
        styles={label: (i % COLOURS, i // COLOURS % 3) for label, i in styles(df).items()}, examples=shown,
        thumbnails=thumbnails, number=number, aspects=aspects, frames=FRAMES, count=count, data=_dataset(card),
        against=against, explained=f"{root}/{PAGE}",
    )  # fmt: skip


def _refuse_other_card(result: Result, card: Mapping[str, Any]) -> None:
    """A card of another state of the dataset would explain numbers that are not on the page."""
    for key, what in (("dataset", "dataset"), ("missing_hash", "missing list")):
        ours, theirs = card[key], result.metrics[key]
        if ours != theirs:
            raise ValueError(f"the card is of {what} {ours} and {result.folder} of {theirs}; run rules card and score again")


def _dataset(card: Mapping[str, Any]) -> dict[str, Any]:
    """The section about the dataset. Addresses stay in the card's own file: this page has none."""
    about = card["about"]
    return {
        "title": about["title"],
        "about": [(name.capitalize(), about[name]) for name in ("protocol", "licence", "citation") if about.get(name)],
        "splits": SPLITS,
        "tables": card_text.tables(card),
        "panels": histograms(card),
        "notes": card_text.notes(card),
        "lost": card_text.lost(card),
        "deviations": about.get("deviations") or [],
    }


def _facts(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Facts of the runs: one value where they agree, all values where they differ."""
    m = results[0].metrics
    records = [r.train["record"] for r in results]

    def each(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(str(v) for v in values))

    return [
        ("Dataset", f"{m['dataset']}, {m['gallery']:,} videos, {m['queries']:,} captions"),
        ("Gallery", f"{str(m['gallery_hash'])[:12]} (missing list {str(m['missing_hash'])[:12]})"),
        ("Backbone", each([f"{r.metrics['backbone']} {str(r.metrics['backbone_digest'])[:12]}" for r in results])),
        ("CLIP parameters", each([_sizes(r.cost) for r in results])),
        ("Commit", each([_commit(r["commit"]) for r in records])),
        ("Device", each([r["device"] for r in records])),
        ("Software", each([", ".join(f"{n} {r['versions'][n]}" for n in ("torch", "open_clip_torch")) for r in records])),
    ]


def _sizes(cost: dict[str, Any]) -> str:
    """The parameters of CLIP, and those of its towers where the run has counted them."""
    whole, towers = count(cost["backbone_parameters"]), cost.get("tower_parameters")
    return whole if towers is None else f"{whole}, {count(towers)} without the token table"


def _commit(commit: str) -> str:
    """Short, and `+` (see pipeline.core.record) in words."""
    return f"{commit[:12]} with uncommitted changes" if commit.endswith("+") else commit[:12]


def _epochs(results: Sequence[Result]) -> str:
    """Which checkpoint was scored, in words."""
    trained = [r for r in results if r.train["epochs"]]
    early = [r for r in trained if r.train["selected_epoch"] != r.train["epochs"][-1]["epoch"]]
    if not early:
        return "the last epoch of every run"
    return f"the last epoch, but for {len(early)} of {len(trained)} runs an earlier one that was best on validation"


def _groups() -> list[tuple[str, int]]:
    """Heading of neighbouring columns, and how many they are."""
    return [(name, len(list(members))) for name, members in itertools.groupby(COLUMNS, key=lambda column: column.group)]


def _aspect(uri: str) -> str:
    """Width over height of one picture of a thumbnail, for CSS."""
    width, height = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size
    return f"{width // FRAMES} / {height}"


def _rows(df: pd.DataFrame, marked: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    bold = {column.name: _bold(df, column, marked.get(column.name, [])) for column in COLUMNS}
    return [
        {"label": row["label"], "muted": row["trainable"] == 0, "low": row["t2v_R1_low"], "high": row["t2v_R1_high"]}
        | {"interval": not math.isnan(row["t2v_R1_low"])}
        | {"cells": [(c, *_parts(row, c), row["label"] in bold[c.name]) for c in COLUMNS]}
        for _, row in df.iterrows()
    ]


def _parts(row: "pd.Series[Any]", column: Column) -> tuple[str, str, str]:
    """The value to sort by ("" where there is none), the text, and the deviation as text."""
    mean, _, deviation = cell(row, column).partition(" ± ")
    return "" if math.isnan(row[column.name]) else f"{row[column.name]:.10g}", mean, deviation


def _bold(df: pd.DataFrame, column: Column, marked: Sequence[str]) -> set[str]:
    """Labels of the cells to highlight, none where it would be all. A metric has those that were `marked`.

    A cost has its smallest, as it is shown; a method that trains nothing wins no prize for being cheap.
    """
    if not column.cost:
        return set(marked) if len(marked) < len(df) else set()
    rows = df[(df["trainable"] > 0) & df[column.name].notna()]
    shown = {str(row["label"]): cell(row, column, deviation=False) for _, row in rows.iterrows()}
    if len(set(shown.values())) < 2:
        return set()
    best = column.show(rows[column.name].min())
    return {label for label, text in shown.items() if text == best}
