"""Compare finished runs of one dataset: tables, plots for DVC, and the HTML page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Score
from pipeline.config.settings import read
from pipeline.core import files
from pipeline.core.layout import REVERSED
from pipeline.evaluation import embeddings
from pipeline.reporting import examples, galleries, noise, page, plots, rates
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
    card, apart = files.read_json(args.card), galleries.tables(groups)
    html = page.render(results, df, shown=shown, thumbnails=thumbnails, score=score, card=card, marked=marked, apart=apart)
    notes = [*filter(None, [noise.told(marked, methods=len(df))]), *report.warnings(results, df)]
    tables = {args.csv: df.round(4).to_csv(index=False), args.markdown: report.to_markdown(df, notes=notes) + galleries.to_markdown(apart)}
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


def _embeddings(result: report.Result) -> embeddings.Embeddings:
    return embeddings.load(result.folder / "embeddings.h5")[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of finished runs")
    parser.add_argument("--searches", type=Path, nargs="*", default=[], help="trials of learning rates, where they were searched")
    parser.add_argument("--settings", help="Score as JSON text or a file; without it the page does not tell the level of intervals")
    parser.add_argument("--card", type=Path, required=True, help="facts of the dataset, as rule card writes them")
    for name in ("captions", "videos", "clips", "html", "csv", "markdown", "text", "trials", "points", "ranks", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
