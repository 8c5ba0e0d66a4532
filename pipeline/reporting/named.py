"""The runs that a path names: one of them, all of a report, or the seeds of one method."""

from pathlib import Path

from pipeline.config.params import load_params
from pipeline.config.parse import refuse_unknown
from pipeline.config.resolve import seeds_of
from pipeline.core import layout
from pipeline.core.code import shown
from pipeline.core.files import read_json


def runs_of(path: Path, *, params: Path) -> list[Path]:
    """The folders of the runs that a path stands for.

    A run's folder or a file in it; results/<dataset> or a file in it: all runs of params.yaml; metrics/<dataset>/<method>.json
    and metrics/selected.json: all seeds of the method. ValueError for any other path.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}; name a run, results/<dataset> or metrics/<dataset>/<method>.json")
    ways = (path.absolute(), *path.absolute().parents)
    for folder in ways:
        if folder.name.isdecimal() and (folder / "metrics.json").is_file():  # learning curves have a metrics.json too
            return [Path(shown(folder))]
    if root := root_of(path):
        about = read_json(path)
        if absent := [key for key in ("dataset", "backbone", "method") if key not in about]:
            raise ValueError(f"{path} lacks {absent[0]!r}; evaluate again")
        return _planned(root / layout.RUNS / about["dataset"] / about["backbone"], [about["method"]], params=params)
    for folder in ways:
        if folder.parent.name == "results":
            return _planned(folder.parents[1] / layout.RUNS / folder.name, [], params=params)
    raise ValueError(f"{path} is no run that was scored, no results/<dataset>, no metrics/<dataset>/<method>.json")


def _planned(base: Path, methods: list[str], *, params: Path) -> list[Path]:
    """The runs of params.yaml under a folder: all seeds of these methods, or of all methods with its backbone."""
    given = load_params(params)
    base = base if methods else base / given.backbone.name
    for name in methods:
        refuse_unknown(name, list(given.methods), what=f"{params} has no method", there="there are")
    wanted = [(name, seed) for name in methods or given.run.methods for seed in seeds_of(given, name)]
    return [Path(shown(base / name / str(seed))) for name, seed in wanted]


def root_of(path: Path) -> Path | None:
    """The folder that holds `metrics`, if the path is metrics/selected.json or metrics/<dataset>/<method>.json."""
    near = [folder.parent for folder in (path.absolute().parent, path.absolute().parent.parent) if folder.name == "metrics"]
    return near[0] if near and path.suffix == ".json" and path.name != "metrics.json" else None
