"""A finished run -> its record for git: what `evaluate` makes of its seeds, what made them, the outcome of each video, who ran it where."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import datasets, methods
from pipeline.config.params import load_params
from pipeline.config.schema import Params
from pipeline.core import layout
from pipeline.core.files import read_json
from pipeline.evaluation import compare, embeddings
from pipeline.reporting import records, results
from pipeline.reporting.provenance import Trace, trace
from pipeline.reporting.seed_means import evaluation


def contribution(
    folders: Sequence[Path], *, params: Path, experiment: str, said: Mapping[str, str], hashes: dict[Path, str]
) -> records.Entry:
    """The record of one run; `folders`: one a seed; `said`: `by`, `machine` and `note`; `hashes`: of files that runs share.

    ValueError if a file of a run is missing, does not belong to it, or was made with code that was not committed.
    """
    traced = [_traced(folder, hashes) for folder in folders]
    found = [results.load_result(folder) for folder in folders]
    dataset, backbone, run = found[0].key
    given, settings = load_params(params), traced[0].facts["parameters"]
    if other := [one for one in traced if one.facts["parameters"] != settings]:
        raise ValueError(f"{folders[0]} and {other[0].folder} were trained with different settings; they are not seeds of one run")
    content = {
        "format": 1,
        **{key: said[key] for key in ("by", "machine", "note")},
        "data": _data(given, dataset),
        "sees_time": methods.load(run, config=settings["config"]).sees_time,
        "settings": settings,
        "search": _search(folders[0].parent / "search.json") if given.search.gains else None,
        "evaluation": evaluation(found),
        "runs": [_run(result) for result in found],
    }
    return records.Entry(dataset, backbone, experiment, run, content)


def _traced(folder: Path, hashes: dict[Path, str]) -> Trace:
    """The origin of a run. ValueError names the first part that does not agree or is missing here, or says that the code was changed."""
    found = trace(folder, hashes=hashes)
    if found.problems:
        raise ValueError(found.problems[0])
    needed = [str(folder / name) for name in ("embeddings.h5", "adapter.safetensors", "train.json", "cost.json")]
    if absent := [name for name in needed if not Path(name).is_file()]:
        raise ValueError(f"there is no {absent[0]}; contribute from the folder in which the run was made")
    if len(found.facts["commit"]) != 40:
        raise ValueError(f"{folder} was made at commit {found.facts['commit']}, with code that no commit has; commit it and run again")
    return found


def _data(params: Params, dataset: str) -> dict[str, str]:
    entry = params.datasets[dataset]
    return {"variant": datasets.variant(dataset, entry.variant), "protocol": entry.protocol, "validation": entry.validation}


def _search(path: Path) -> dict[str, Any] | None:
    """The trials of a search of rates; None where nothing was searched. A method that trains nothing has a search without trials."""
    made = read_json(path) if path.is_file() else {"trials": []}
    if not made["trials"]:
        return None
    return {"gain": made["gain"], "trials": [records.kept(trial, "trial") for trial in made["trials"]]}


def _run(result: results.Result) -> dict[str, Any]:
    """One seed, without what only its machine has: paths, and the names of dead parameters."""
    inputs = {Path(name).name: digest for name, digest in result.metrics["inputs"].items()}
    parts = {"metrics": result.metrics | {"inputs": inputs}, "cost": result.cost, "train": result.train}
    outcomes = records.written(*compare.outcomes(embeddings.load(result.folder / "embeddings.h5")[0]))
    return {name: records.kept(part, name) for name, part in parts.items()} | {"outcomes": outcomes}


def seeds(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Run -> the folders of its seeds."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        found.setdefault(layout.place(folder).run, []).append(folder)
    return found
