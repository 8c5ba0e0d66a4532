"""Say what made a run's numbers, and check by hashes that its files belong together. Exit code 1 if they do not."""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.config.params import FILE, load_params
from pipeline.config.recipes import flat
from pipeline.core import layout
from pipeline.core.code import shown
from pipeline.reporting.named import root_of, runs_of
from pipeline.reporting.provenance import SHOWN, Trace, check_clips, check_means, check_settings, trace
from pipeline.stages import guarded

WIDTH = 110


def main() -> None:
    args = _arguments()
    found: dict[Path, Trace] = {}
    problems: list[str] = []
    hashes: dict[Path, str] = {}
    for path in args.paths:
        folders = runs_of(path, params=args.params or FILE)
        for folder in folders:
            if folder not in found:
                found[folder] = _traced(folder, hashes=hashes, clips=args.clips)
                _settings(found[folder], args.params)
        if root_of(path):
            problems += check_means(path, [found[folder] for folder in folders])
    problems = [sentence for run in found.values() for sentence in run.problems] + problems
    if args.json:
        print(json.dumps({"runs": [_plain(run) for run in found.values()], "problems": problems}, indent=1))
    else:
        print("\n".join(map(to_text, found.values())))
    if problems:
        sys.stdout.flush()
        sys.exit("\n".join(f"error: {sentence}" for sentence in problems))


def _traced(folder: Path, *, hashes: dict[Path, str], clips: bool) -> Trace:
    try:
        found = trace(folder, hashes=hashes)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a file in {folder} is not as this pipeline writes it ({error}); make the run again") from error
    if clips:
        check_clips(found)
    return found


def _settings(found: Trace, params: Path | None) -> None:
    """Compare a run with the params.yaml of its own folder, or the one that was named."""
    path = params or Path(shown(layout.place(found.folder).root / FILE))
    if found.here(path):
        check_settings(found, load_params(path), where=path)


def to_text(run: Trace) -> str:
    """The way from the numbers back, a line a step; then what was checked, and what could not be."""
    facts = run.facts
    lines = [f"{run.folder}", _line("numbers", _numbers(facts["metrics"]))]
    for name in ("embeddings", "adapter"):
        lines.append(_line(name, f"SHA-256 {_short(facts[name])}"))
    if "commit" in facts:
        state = ", with changes that were not committed" if facts["commit"].endswith("+") else ""
        lines += [_line("commit", facts["commit"].rstrip("+") + state), _line("seed", facts["seed"])]
        lines.append(_line("backbone", f"{facts['backbone']}, SHA-256 {_short(facts['backbone_digest'])}"))
        for part, values in facts["parameters"].items():
            lines.append(_line(part, ", ".join(f"{key} {value}" for key, value in flat(values).items())))
    if "machine" in facts:
        environment = facts["environment"]
        versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        lines.append(_line("environment", f"envs/requirements.txt {_short(environment['lock'])}; {versions}"))
        lines.append(_line("machine", ", ".join(f"{key} {value}" for key, value in facts["machine"].items())))
    lines += [_line("data", f"{path} {_short(digest)}") for path, digest in facts["data"].items()]
    lines.append(_line("checked", _names(run, run.checked)))
    if run.absent:
        lines.append(_line("not here, not checked", _names(run, run.absent)))
    return "\n".join([*lines, _line("found", f"{len(run.problems)} that do not agree" if run.problems else "all that is here agrees"), ""])


def _numbers(metrics: dict[str, Any]) -> str:
    parts = [f"{way} R@1 {metrics[way]['R1']:.1f}, R-Sum {metrics[way]['RSum']:.1f}" for way in ("t2v", "v2t")]
    probe = [f"probe {metrics['probe']['accuracy']:.1f}"] if metrics["probe"] else []
    return "; ".join([*parts, *probe, f"{metrics['queries']} queries, {metrics['gallery']} videos, gallery {metrics['gallery_hash']}"])


def _names(run: Trace, paths: Iterable[str]) -> str:
    """Files as the run's place shows them: those of the run by their names, others from the folder that holds runs."""
    root = f"{layout.place(run.folder).root}/"
    return ", ".join(dict.fromkeys(path.replace(f"{run.folder}/", "").removeprefix(root) for path in paths))


def _short(digest: str | None) -> str:
    return digest[:SHOWN] if digest else "not named"


def _line(name: str, text: object) -> str:
    return textwrap.fill(f"{name}: {text}", WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def _plain(run: Trace) -> dict[str, Any]:
    lists = {"checked": run.checked, "absent": run.absent, "problems": run.problems}
    return {"run": str(run.folder), "facts": run.facts} | lists


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", help="runs, results/<dataset>, metrics/<dataset>/<method>.json, or files in them")
    parser.add_argument(
        "--params",
        type=Path,
        help="whose settings are compared, instead of those beside each run, and whose runs results/<dataset> and others stand for",
    )
    parser.add_argument("--clips", action="store_true", help="hash every clip as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
