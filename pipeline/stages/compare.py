"""Compare two methods on the test set that both were scored on: values, difference, confidence interval, p value."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config.params import FILE, load_params
from pipeline.config.parse import parse, refuse_unknown
from pipeline.config.schema import Params, Score
from pipeline.core import layout
from pipeline.evaluation import small
from pipeline.evaluation.compare import Difference, Run, compare, load
from pipeline.stages import guarded

TITLES = {"RSum": "R-Sum both ways", "probe": "temporal probe"}


def main() -> None:
    args = _arguments()
    if args.a == args.b:
        raise ValueError(f"{args.a} is compared with itself, {args.b}; name two methods")
    params = load_params(args.params)
    settings = _settings(args, params.score)
    base = args.runs / _dataset(args, params) / (args.backbone or params.backbone.name)
    seeds = _seeds(args, base)
    a, b = ([load(base / method / str(seed)) for seed in seeds] for method in (args.a, args.b))
    found = compare(a, b, settings=settings)
    about = _about(args, a[0], seeds, settings)
    print(json.dumps(about | {"metrics": [asdict(row) for row in found]}, indent=1) if args.json else to_text(about, found), flush=True)


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
            "What other seeds would change is in no interval and no p value.",
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


def _seeds(args: argparse.Namespace, base: Path) -> list[int]:
    """Those that were asked for, or those that both methods have metrics of. ValueError if there is none."""
    for method in (args.a, args.b):
        there = sorted(path.name for path in base.glob("*/") if path.is_dir())
        refuse_unknown(method, there, what="there is no run of", there=f"{base} has")
    if args.seeds:
        return sorted(set(args.seeds))
    of = [{int(p.parent.name) for p in (base / method).glob("*/metrics.json") if p.parent.name.isdecimal()} for method in (args.a, args.b)]
    if not of[0] & of[1]:
        has = (f"{method} has {', '.join(map(str, sorted(s))) or 'none'}" for method, s in zip((args.a, args.b), of, strict=True))
        raise ValueError(f"no seed is common in {base}: {' and '.join(has)}; run both with one seed")
    return sorted(of[0] & of[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("a", "b"):
        parser.add_argument(name, help="a method of params.yaml that has been run")
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
