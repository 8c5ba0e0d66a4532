"""Records of finished runs in git, `benchmarks/results/<dataset>/<backbone>/[<experiment>/]<run>.json`: read, and held against themselves.

A record may come from a stranger. Its form, its ranges and its place are checked, and that its numbers follow from the outcomes of single
videos in it. That somebody has computed these outcomes, and how, nobody can tell from a file.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from pipeline.config.recipes import flat
from pipeline.core.code import ROOT, shown
from pipeline.evaluation import compare
from pipeline.evaluation.ranks import Doubles, Integers
from pipeline.reporting import results
from pipeline.reporting.seed_means import evaluation

FOLDER = ROOT / "benchmarks/results"
SCHEMA = Path(__file__).with_name("record.schema.json")
LARGEST = 8_000_000  # bytes of a record
OUTCOMES = (*compare.NAMES[:6], "probe")
WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,60}|")  # an experiment
SAID = 200  # characters of what a validator says


@dataclass(frozen=True)
class Entry:
    """One run with its seeds. `experiment`: "" for the first that anybody has given; `content`: what the file holds."""

    dataset: str
    backbone: str
    experiment: str
    run: str
    content: Mapping[str, Any]

    @property
    def place(self) -> str:
        """<dataset>/<backbone>, and the experiment where there is one: what one table is about."""
        return "/".join(filter(None, (self.dataset, self.backbone, self.experiment)))

    @property
    def results(self) -> list[results.Result]:
        """Its seeds, as the report reads them from a folder of runs."""
        return [
            results.Result(Path(self.place, self.run, str(r["metrics"]["seed"])), r["metrics"], r["cost"], r["train"]) for r in self.runs
        ]

    @property
    def runs(self) -> Sequence[Mapping[str, Any]]:
        return list(self.content["runs"])

    @property
    def sides(self) -> list[compare.Run]:
        """Its seeds, as `evaluation.compare` takes them."""
        return [_side(result, run["outcomes"]) for result, run in zip(self.results, self.runs, strict=True)]


def load(folder: Path = FOLDER) -> list[Entry]:
    """All records, by name. ValueError names the first file that is none."""
    return [read(path, folder=folder) for path in sorted(folder.rglob("*.json"))]


def at(entries: Iterable[Entry], place: str) -> list[Entry]:
    """Those of one table; none is an empty list."""
    return [entry for entry in entries if entry.place == place]


def read(path: Path, *, folder: Path = FOLDER) -> Entry:
    """The record in a file. ValueError, with one sentence, if it is none, contradicts itself, or lies in another place than its own."""
    where = shown(path)
    return checked(_content(path, where), place=path.relative_to(folder), where=where)


def checked(content: Any, *, place: Path, where: str) -> Entry:
    """The record in a file at `place` below the folder of all records; see `read`."""
    _refuse_another_form(content, where)
    said, names = content["evaluation"], place.with_suffix("").parts
    entry = Entry(said["dataset"], said["backbone"], names[2] if len(names) == 4 else "", said["method"], content)
    if place != path_of(entry) or not WORD.fullmatch(entry.experiment):
        raise ValueError(f"{where} is the record of {entry.run} on {said['dataset']}/{said['backbone']}; move it to {path_of(entry)}")
    _refuse_contradictions(entry, where)
    return entry


def path_of(entry: Entry) -> Path:
    """Where a record lies, below the folder of all."""
    return Path(entry.place, f"{entry.run}.json")


def kept(values: Any, kind: str) -> Any:
    """Of what a stage wrote, the part that a `kind` of the schema has a place for: no paths, and no key that came after it."""
    return _kept(values, _validator().schema["$defs"][kind])


def _kept(value: Any, form: Mapping[str, Any]) -> Any:
    forms = [form, *form.get("oneOf", ())]
    for one in forms:
        if "$ref" in one and isinstance(value, dict):
            return kept(value, one["$ref"].rpartition("/")[2])
    named = next((one for one in forms if "properties" in one), None)
    if isinstance(value, list) and "items" in form:
        return [_kept(entry, form["items"]) for entry in value]
    if named is None or not isinstance(value, dict):
        others = form.get("additionalProperties")
        return (
            {name: _kept(part, others) for name, part in value.items()} if isinstance(value, dict) and isinstance(others, dict) else value
        )
    return {name: _kept(value[name], part) for name, part in named["properties"].items() if name in value}


def written(hits: Doubles, sizes: Integers) -> dict[str, str]:
    """The outcomes (V, 7) of `evaluation.compare` as they stand in a record: a line of numbers each."""
    columns = {"captions": sizes[:, 0], "directed": sizes[:, 6]} | dict(zip(OUTCOMES, hits.T, strict=True))
    return {name: " ".join(f"{value:g}" for value in column) for name, column in columns.items()}


def _side(result: results.Result, outcomes: Mapping[str, str]) -> compare.Run:
    columns = {name: np.array(text.split(), np.float64) for name, text in outcomes.items()}
    captions, directed = (columns[name].astype(np.int64) for name in ("captions", "directed"))
    sizes = np.stack([captions] * 3 + [np.ones_like(captions)] * 3 + [directed], axis=1)
    hits = np.stack([columns[name] for name in OUTCOMES], axis=1)
    return compare.Run(result.folder, result.metrics, compare.recorded(result.metrics, source=result.folder), hits, sizes)


def _content(path: Path, where: str) -> Any:
    """JSON and nothing more: no NaN, no key twice, of a size that a record has."""
    if path.is_symlink() or path.stat().st_size > LARGEST:
        raise ValueError(f"{where} is a link or has more than {LARGEST:,} bytes; a record is a smaller file")
    try:
        return json.loads(path.read_bytes(), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON: {error or 'too deep'}; contribute the run again") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return found


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _refuse_another_form(content: Any, where: str) -> None:
    """ValueError says what does not follow record.schema.json."""
    if error := best_match(_validator().iter_errors(content)):
        text = " ".join(error.message.split())
        said = text if len(text) <= SAID else f"{text[: SAID // 2]} ... {text[-SAID // 2 :]}"
        raise ValueError(f"{where}: {error.json_path}: {said}; contribute the run again")


def _refuse_contradictions(entry: Entry, where: str) -> None:
    """ValueError if the seeds are not of one run, their means not theirs, or a metric not that of the outcomes."""
    for result in entry.results:
        if result.key != (entry.dataset, entry.backbone, entry.run):
            raise ValueError(f"{where} holds a run of {'/'.join(result.key)}; contribute the run again")
        if result.train["adapter"] != result.metrics["adapter"]:
            raise ValueError(f"{where} names two adapters of seed {result.metrics['seed']}; contribute the run again")
    if len({result.metrics["backbone_digest"] for result in entry.results}) > 1:
        raise ValueError(f"{where} has seeds on different weights; contribute the run again")
    said, again = flat(entry.content["evaluation"]), flat(evaluation(entry.results))
    for name in {**again, **said}:
        if not _same(said.get(name), again.get(name)):
            raise ValueError(f"{where} says {name} {said.get(name)}, and its runs give {again.get(name)}; contribute the run again")
    for side, run in zip(entry.results, entry.runs, strict=True):
        _refuse_other_outcomes(side, run["outcomes"], where)


def _same(one: Any, other: Any) -> bool:
    numbers = (int, float)
    return math.isclose(one, other, rel_tol=1e-9) if isinstance(one, numbers) and isinstance(other, numbers) else bool(one == other)


def _refuse_other_outcomes(result: results.Result, outcomes: Mapping[str, str], where: str) -> None:
    """ValueError unless there is a number for each video, none above what was asked, and their shares are the metrics."""
    lengths = {len(text.split()) for text in outcomes.values()}
    if lengths != {result.metrics["gallery"]}:
        raise ValueError(f"{where} has {result.metrics['gallery']} videos and outcomes of {sorted(lengths)}; contribute the run again")
    side = _side(result, outcomes)
    again = compare.shares(side.hits, side.sizes).sum(axis=0)
    wrong = [
        n
        for n, pair in enumerate(zip(side.values, again, strict=True))
        if not np.isclose(*pair, rtol=0, atol=compare.ROUNDING, equal_nan=True)
    ]
    if wrong or (side.hits > side.sizes).any() or (np.diff(side.hits[:, :3]) < 0).any() or (np.diff(side.hits[:, 3:6]) < 0).any():
        name = compare.NAMES[wrong[0]] if wrong else "an outcome"
        raise ValueError(f"{where}: {name} of seed {result.metrics['seed']} does not follow from the outcomes; contribute the run again")
    if side.sizes[:, 0].sum() != result.metrics["queries"]:
        raise ValueError(
            f"{where} has {result.metrics['queries']} captions and outcomes of {side.sizes[:, 0].sum()}; contribute the run again"
        )
