"""Compare finished runs of one dataset: tables, plots for DVC, and the HTML page."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import datasets
from pipeline.config import papers
from pipeline.config.schema import Score
from pipeline.config.settings import read
from pipeline.core import files
from pipeline.core.code import ROOT
from pipeline.core.layout import REVERSED
from pipeline.evaluation import embeddings
from pipeline.reporting import actions, against, apart, examples, galleries, noise, page, plots, rates, transductive, transfer
from pipeline.reporting import results as report
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    results = [report.load_result(folder) for folder in args.runs]
    report.refuse_mixed_galleries(results)
    df = report.table(results)
    groups = _groups(results, df)
    found = {label: _embeddings(group[0]) for label, group in groups.items()}
    shown = examples.examples(found, pd.read_parquet(args.captions))
    clips = examples.clips(shown, pd.read_parquet(args.videos), root=args.clips)
    thumbnails = {video: examples.thumbnail(path, turned=video.endswith(REVERSED)) for video, path in clips.items()}
    score = read(Score, args.settings) if args.settings else None
    marked = noise.alike(df, {label: map(_embeddings, group) for label, group in groups.items()}, score=score or Score())
    card, others = files.read_json(args.card), _apart(groups, args)
    compared, root = _against(groups, card, score=score or Score()), os.path.relpath(ROOT, args.html.parent)
    html = page.render(
        results, df, shown=shown, thumbnails=thumbnails, score=score, card=card, marked=marked, apart=others, against=compared, root=root
    )
    notes = [*filter(None, [noise.told(marked, methods=len(df))]), *report.warnings(results, df)]
    text = report.to_markdown(df, notes=notes) + apart.to_markdown(others)
    tables = {args.csv: df.round(4).to_csv(index=False), args.markdown: text}
    tables[args.text] = f"{report.to_text(df, notes=notes)}\n"
    tables[args.trials] = rates.table(args.searches).to_csv(index=False)
    tables[args.points] = plots.points(df).to_csv(index=False)
    tables[args.ranks] = plots.ranks({label: map(_embeddings, group) for label, group in groups.items()}).to_csv(index=False)
    tables[args.curves] = plots.curves(groups).to_csv(index=False)
    for target, text in {args.html: html, **tables}.items():
        with files.whole(target) as part:
            part.write_text(text, encoding="utf-8")
    print(f"{tables[args.text]}{args.html}")


def _groups(results: Sequence[report.Result], df: pd.DataFrame) -> dict[str, list[report.Result]]:
    """label -> its runs, by seed, in the order of the table."""
    ordered = sorted(results, key=lambda r: int(r.metrics["seed"]))
    return {str(row.label): [r for r in ordered if r.key == (row.dataset, row.backbone, row.method)] for row in df.itertuples()}


def _apart(groups: Mapping[str, Sequence[report.Result]], args: argparse.Namespace) -> list[apart.Table]:
    """The tables below the main one: kinds of action, other galleries, other datasets, transductive scores."""
    own = [transductive.table(groups)] if args.settings and read(Score, args.settings).transductive else []
    return [*actions.tables(groups), *galleries.tables(groups), *transfer.tables([files.read_json(file) for file in args.matrix]), *own]


def _against(groups: Mapping[str, Sequence[report.Result]], card: Mapping[str, Any], *, score: Score) -> list[against.Comparison]:
    """Each run beside the numbers that papers print of it."""
    settings, dataset, printed = card["about"].get("settings") or {}, card["dataset"], papers.load()
    variant, validation = datasets.variant(dataset, str(settings.get("variant", ""))), str(settings.get("validation", "clean"))
    found = []
    for label, group in groups.items():
        ours: dict[str, Any] = {"scored": [result.metrics for result in group], "settings": score}
        run, place = group[0].metrics["method"], (dataset, variant, group[0].metrics["backbone"])
        embedded = map(_embeddings, group)
        found.append(against.against(label, embedded, **ours, run=run, place=place, validation=validation, printed=printed))
    return [*filter(None, found)]


def _embeddings(result: report.Result) -> embeddings.Embeddings:
    return embeddings.load(result.folder / "embeddings.h5")[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of finished runs")
    parser.add_argument("--searches", type=Path, nargs="*", default=[], help="trials of learning rates, where they were searched")
    parser.add_argument("--matrix", type=Path, nargs="*", default=[], help="metrics of all datasets' runs, some with tests on others")
    parser.add_argument("--settings", help="Score as JSON text or a file; without it the page does not tell the level of intervals")
    parser.add_argument("--card", type=Path, required=True, help="facts of the dataset, as rule card writes them")
    for name in ("captions", "videos", "clips", "html", "csv", "markdown", "text", "trials", "points", "ranks", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
