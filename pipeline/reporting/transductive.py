"""Scores that need more at test time than one query and the gallery, as a table of their own that says what each needs."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.formatting import tenth
from pipeline.evaluation.transductive import BETA, NEEDS, SCALE
from pipeline.reporting.apart import Table
from pipeline.reporting.results import Result

FILE = "transductive.json"  # in the folder of a run
HEAD = ("Method", "Scores", "Needs at test time", "R@1", "R@5", "R@10", "v2t R@1")
NOTE = (
    f"Not for a table of methods: numbers below the first line of a method know more than one query and the gallery. Dual softmax at "
    f"{SCALE:g}, querybank at {BETA:g}, both fixed beforehand and tuned on nothing."
)

Scores = Mapping[str, Mapping[str, float]]


def table(groups: Mapping[str, Sequence[Result]]) -> Table:
    """Of the methods `groups` (label -> runs), means over seeds. ValueError for scores of other embeddings than those of the run."""
    rows = [row for label, runs in groups.items() for row in lines(label, [_scores(run) for run in runs])]
    return Table("Transductive scores", f"{NOTE} Means over seeds.", HEAD, rows)


def lines(label: str, seeds: Sequence[Scores]) -> Iterator[list[str]]:
    """Cells under HEAD: a line for each kind of scores of a method."""
    for name in (name for name in NEEDS if name in seeds[0]):
        yield [label, name, NEEDS[name], *(_mean([scores[name] for scores in seeds], key) for key in ("R1", "R5", "R10", "v2t_R1"))]


def _mean(seeds: Sequence[Mapping[str, float]], key: str) -> str:
    """An en dash where it is not defined."""
    return tenth(mean(numbers[key] for numbers in seeds)) if all(key in numbers for numbers in seeds) else "\u2013"


def _scores(run: Result) -> Scores:
    file = run.folder / FILE
    if not file.is_file():
        raise ValueError(f"there is no {file}; run rule transductive, or set score.transductive: false")
    found: dict[str, Any] = read_json(file)
    if found["embeddings"] != run.metrics.get("embeddings"):
        raise ValueError(f"{file} is of other embeddings than {run.folder / 'metrics.json'}; run rules transductive and score again")
    scores: Scores = found["scores"]
    return scores
