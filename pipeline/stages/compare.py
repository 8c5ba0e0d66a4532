"""Compare two methods on the test set that both were scored on: values, difference, confidence interval, p value.

With --paper it compares runs with what papers print of them instead: one that is named, or all of params.yaml that have been scored.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import datasets
from pipeline.config import papers
from pipeline.config.params import FILE, load_params
from pipeline.config.parse import parse, refuse_unknown
from pipeline.config.schema import Params, Score
from pipeline.core import layout
from pipeline.evaluation import embeddings, small
from pipeline.evaluation.compare import Difference, Run, compare, load
from pipeline.reporting import against
from pipeline.stages import guarded

TITLES = {"RSum": "R-Sum both ways", "probe": "temporal probe"}


def main() -> None:
    args = _arguments()
    if args.paper:
        _paper(args)
        return
    if args.b is None:
        raise ValueError("name two methods to compare, or give --paper to compare one with what papers print of it")
    if args.a == args.b:
        raise ValueError(f"{args.a} is compared with itself, {args.b}; name two methods")
    params = load_params(args.params)
    settings = _settings(args, params.score)
    base = args.runs / _dataset(args, params) / (args.backbone or params.backbone.name)
    seeds = _seeds(args, base, (args.a, args.b))
    a, b = ([load(base / method / str(seed)) for seed in seeds] for method in (args.a, args.b))
    found = compare(a, b, settings=settings)
    about = _about(args, a[0], seeds, settings)
    print(json.dumps(about | {"metrics": [asdict(row) for row in found]}, indent=1) if args.json else to_text(about, found), flush=True)


def _paper(args: argparse.Namespace) -> None:
    """Print runs beside the papers. ValueError where nothing can be compared: no run, none in a paper, or with another backbone."""
    params, printed = load_params(args.params), papers.load()
    settings, dataset, backbone = _settings(args, params.score), _dataset(args, params), args.backbone or params.backbone.name
    entry, base = params.datasets[dataset], args.runs / dataset / backbone
    known = {cell.run for cell in printed if cell.dataset == dataset}
    if args.a:
        refuse_unknown(args.a, sorted(known), what=f"no paper's number is known on {dataset} of", there="papers/ has")
    found = []
    for name in [args.a] if args.a else [run for run in params.run.methods if run in known and any(base.glob(f"{run}/*/metrics.json"))]:
        seeds = _seeds(args, base, (name,))
        made = (embeddings.load(base / name / str(seed) / "embeddings.h5")[0] for seed in seeds)
        ours: dict[str, Any] = {"scored": [load(base / name / str(seed)).metrics for seed in seeds], "settings": settings}
        place = (dataset, datasets.variant(dataset, entry.variant), backbone)
        found.append(against.against(name, made, **ours, run=name, place=place, validation=entry.validation, printed=printed))
    compared = [one for one in found if one]
    if not any(one.lines for one in compared):
        said = (
            "; ".join(one.refused for one in compared) or f"no run in {base} has a number in papers/ on {dataset} as {args.params} has it"
        )
        raise ValueError(said)
    print(json.dumps([asdict(one) for one in compared], indent=1) if args.json else against.to_text(compared), flush=True)


def to_text(about: dict[str, Any], found: Sequence[Difference]) -> str:
    """The table, aligned, and under it what was drawn, what was averaged, and what several tests mean."""
    a, b, level = about["a"], about["b"], f"{100 * about['confidence']:g} % interval"
    lines = [["metric", f"a: {a}", f"b: {b}", "b - a", level, "p", "p (Holm)"]]
    for row in found:
        title = TITLES.get(row.metric) or row.metric.replace("_R", " R@")
        low, high, change = (f"{x:+.1f}" for x in (row.low, row.high, row.difference))
        lines.append([title, f"{row.a:.1f}", f"{row.b:.1f}", change, f"[{low}, {high}]", f"{row.p:.4f}", f"{row.p_holm:.4f}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    seeds = about["seeds"]
    return "\n".join(
        [
            f"{about['dataset']}, {about['backbone']}; all values in percent",
            *rows,
            f"Resampled: {about['videos']:,} whole videos with their {about['queries']:,} captions, {about['resamples']:,} times. "
            "Interval: paired percentile bootstrap, or a score interval where no resample differs.",
            "p: two-sided sign-flip test, a and b exchanged in whole videos.",
            f"Averaged before: {len(seeds)} seed{'s' * (len(seeds) > 1)} of each method ({', '.join(map(str, seeds))}). "
            "No interval and no p value holds the spread of other seeds.",
            f"{len(found)} metrics are tested at once: p (Holm) is corrected for that, p is not.",
            *filter(None, [small.warning(about["videos"])]),
        ]
    )


def _about(args: argparse.Namespace, run: Run, seeds: Sequence[int], settings: Score) -> dict[str, Any]:
    """Description of the comparison: its subjects, and how it was made."""
    keys = ("dataset", "backbone", "gallery_hash", "missing_hash", "queries")
    about = {"a": args.a, "b": args.b} | {key: run.metrics[key] for key in keys}
    about |= {"videos": len(run.hits), "probe_queries": int(run.sizes[:, 6].sum()), "seeds": list(seeds)}
    if empty := small.meaningless(len(run.hits)):
        about |= {"meaningless": empty}
    return about | {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}


def _settings(args: argparse.Namespace, score: Score) -> Score:
    given = {"bootstrap": args.resamples, "confidence": args.confidence, "seed": args.seed}
    settings = parse(Score, asdict(score) | {k: v for k, v in given.items() if v is not None}, where="--resamples, --confidence, --seed")
    if not 0 < settings.confidence < 1:
        raise ValueError(f"confidence is {settings.confidence}; it must lie between 0 and 1")
    return settings


def _dataset(args: argparse.Namespace, params: Params) -> str:
    known = params.run.datasets
    if args.dataset is None and len(known) != 1:
        raise ValueError(f"{args.params} runs {len(known)} datasets; say with --dataset which of {', '.join(known)}")
    return str(args.dataset or known[0])


def _seeds(args: argparse.Namespace, base: Path, wanted: Sequence[str]) -> list[int]:
    """Those that were asked for, or those that all methods have metrics of. ValueError if there is none."""
    for method in wanted:
        there = sorted(path.name for path in base.glob("*/") if path.is_dir())
        refuse_unknown(method, there, what="there is no run of", there=f"{base} has")
    if args.seeds:
        return sorted(set(args.seeds))
    of = [{int(p.parent.name) for p in (base / method).glob("*/metrics.json") if p.parent.name.isdecimal()} for method in wanted]
    if not (common := set.intersection(*of)):
        has = (f"{method} has {', '.join(map(str, sorted(s))) or 'none'}" for method, s in zip(wanted, of, strict=True))
        raise ValueError(f"no seed is common in {base}: {' and '.join(has)}; run both with one seed")
    return sorted(common)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("a", "b"):
        parser.add_argument(name, nargs="?", help="a method of params.yaml that has been run")
    parser.add_argument("--paper", action="store_true", help="compare a, or all runs, with what papers print (docs/reproducing.md)")
    parser.add_argument("--dataset", help="default: the only one that params.yaml runs")
    parser.add_argument("--backbone", help="default: that of params.yaml")
    parser.add_argument("--runs", type=Path, default=Path(layout.RUNS), help="folder of runs")
    parser.add_argument("--params", type=Path, default=FILE)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all that both methods have")
    parser.add_argument("--resamples", type=int, help="draws of each interval and each test; default: score.bootstrap of params.yaml")
    parser.add_argument("--confidence", type=float, help="default: score.confidence of params.yaml")
    parser.add_argument("--seed", type=int, help="of the draws; default: score.seed of params.yaml")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
