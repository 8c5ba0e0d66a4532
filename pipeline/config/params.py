"""params.yaml as a whole: read, and checked for what its parts must agree on."""

import io
import re
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config import protocols, recipes, registry
from pipeline.config.dataset import Dataset
from pipeline.config.parse import parse, refuse_unknown, shown
from pipeline.config.resolve import EXTRA, of_recipe, tested, train_of
from pipeline.config.schema import Params

FILE = Path("params.yaml")


def check(values: Mapping[str, Any], *, where: str = "params.yaml") -> Params:
    """The whole configuration, with what its parts must agree on. Raises ValueError."""
    _refuse_other_shapes(values, where=where)
    _refuse_accumulation(values, where=where)
    params = parse(Params, protocols.fill(values, where=where), where=where)
    for name, entry in params.datasets.items():
        _refuse_contradictions(name, entry, where=where)
    for key, kind in (("datasets", "datasets"), ("transfer", "datasets"), ("methods", "methods")):
        for name in getattr(params.run, key):
            refuse_unknown(name, list(getattr(params, kind)), what=f"{where}: run.{key} names", there=f"{kind} has entries for")
    _refuse_transfer(params, where=where)
    if params.method:
        refuse_unknown(params.method, params.run.methods, what=f"{where}: method is", there="run.methods has")
    for name in params.methods:
        if "/" in name or not name:
            raise ValueError(f"{where}: methods.{name} cannot be a folder's name")
        _refuse_unknown_recipe(params, name, where=where)
        for dataset in (None, *params.datasets):
            train_of(params, name, dataset, where=where)
    for name in params.run.methods:
        for dataset in params.run.datasets:
            _refuse_other_dataset(params, name, dataset, where=where)
            _refuse_choice_on_seen(params, name, dataset, where=where)
    if not all(gain > 0 for gain in params.search.gains):
        raise ValueError(f"{where}: search: gains are {params.search.gains}; all must be positive")
    if params.pretrain.pairs < params.pretrain.batch:
        raise ValueError(f"{where}: pretrain: {params.pretrain.pairs} pairs do not fill a batch of {params.pretrain.batch}")
    return params


def _refuse_other_shapes(values: Any, *, where: str) -> None:
    """A list or a word where sections are looked into before the schema sees them."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is no file of settings; it takes sections such as run: and train:")
    for key in ("run", "datasets", "methods"):
        if not isinstance(values.get(key) or {}, Mapping):
            raise ValueError(f"{where}: {key} is {shown(values[key])}; it takes keys with values")
    wanted = (values.get("run") or {}).get("datasets") or []
    if not isinstance(wanted, list):
        raise ValueError(f"{where}: run.datasets is {shown(wanted)}; it takes a list of names")


def _refuse_accumulation(values: Mapping[str, Any], *, where: str) -> None:
    """Known from other trainers, and another loss here: each pair has the others of its batch as negatives."""
    methods = values.get("methods") or {}
    entries = {f"methods.{name}.train": entry.get("train") for name, entry in methods.items() if isinstance(entry, Mapping)}
    for place, section in ({"train": values.get("train")} | entries).items():
        for key in section if isinstance(section, Mapping) else ():
            if "accum" in str(key):
                raise ValueError(
                    f"{where}: {place}.{key}: gradients added up over small batches are those of a loss with fewer negatives; "
                    f"set {place}.chunk, which gives the gradient of the whole batch in the memory of so many pairs"
                )


def _refuse_unknown_recipe(params: Params, name: str, *, where: str) -> None:
    """A name with @ that says nothing and has no recipe would silently be the method with its defaults."""
    entry = params.methods[name]
    if "@" in name and not (entry.config or entry.train or name in (known := recipes.load())):
        near = [run for run in known if registry.method_of(run) == registry.method_of(name)]
        refuse_unknown(name, near or list(known), what=f"{where}: methods: nothing is set and there is no recipe for", there="recipes/ has")


def _refuse_other_dataset(params: Params, name: str, dataset: str, *, where: str) -> None:
    has = recipes.flat(asdict(params.datasets[dataset]))
    for key, value in recipes.flat(of_recipe(Dataset, name, "dataset", dataset)).items():
        if has[key] != value:
            raise ValueError(
                f"{where}: datasets.{dataset}.{key} is {has[key]}, but {recipes.place(name)} was made with {value}; "
                f"set datasets.{dataset}.{key}: {value}, or run it from another params.yaml"
            )


def _refuse_transfer(params: Params, *, where: str) -> None:
    """Tests that have nothing to be told against, or that nothing was trained for."""
    place, wanted = f"{where}: run.transfer", params.run.transfer
    if wanted and registry.PLAIN not in params.run.methods:
        raise ValueError(f"{place}: what a training has kept is told against {registry.PLAIN}; add it to run.methods")
    if wanted and not any(tested(params, name) for name in params.run.datasets):
        raise ValueError(f"{place} names no other dataset than run.datasets, {', '.join(wanted)}; name one that is not trained on")
    for own, other in [(name, other) for name in params.run.datasets for other in tested(params, name)]:
        one, two = (recipes.flat({key: asdict(params.datasets[name])[key] for key in ("frames", "words")}) for name in (own, other))
        if key := next((key for key in one if one[key] != two[key]), ""):
            raise ValueError(
                f"{place}: datasets.{other}.{key} is {two[key]} and datasets.{own}.{key} {one[key]}; what was trained on one is tested on "
                "the other with the same frames and words: set them alike"
            )


def _refuse_contradictions(name: str, entry: Dataset, *, where: str) -> None:
    place = f"{where}: datasets.{name}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(f"{place} cannot be a folder's name; use letters, digits, dots, dashes and underscores")
    if entry.captions and not entry.videos:
        raise ValueError(f"{place}: captions is set, and videos is not; name the folder of your videos")


def _refuse_choice_on_seen(params: Params, name: str, dataset: str, *, where: str) -> None:
    """With `validation: paper` the validation videos are trained on, and what is best there is what is learned by heart."""
    if params.datasets[dataset].validation == "paper" and (params.search.gains or train_of(params, name, dataset).select == "best"):
        raise ValueError(
            f"{where}: methods.{name}: select: best and search.gains choose on validation videos, which datasets.{dataset}.validation: "
            "paper trains on; set select: last and no gains, or validation: clean"
        )


def load_params(path: str | Path) -> Params:
    """Read and check a params.yaml. Raises ValueError."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no {file}; run from the folder that holds params.yaml")
    return check(typing.cast(dict[str, Any], OmegaConf.to_container(_yaml(file))), where=str(file))


def _yaml(file: Path) -> Any:
    """The content of a YAML file. ValueError for one that is no YAML."""
    try:
        return OmegaConf.load(io.StringIO(file.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{file}: {line}this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{file} is no YAML of settings: {' '.join(str(error).split())}") from error


def params_here() -> Params | None:
    """The params.yaml of the working directory, None where there is none."""
    return load_params(FILE) if FILE.is_file() else None


def known_files(params: Params, package: Path, *, where: str = "params.yaml") -> None:
    """ValueError for a method or a dataset without a file, and for a hyper-parameter that its method does not have.

    The files are read, not imported: this runs before every workflow, and importing torch would take longer than all the rest.
    """
    methods = registry.entries(package / "methods")
    datasets = registry.datasets(package / "datasets")
    for name in (name for name, entry in params.datasets.items() if not entry.captions):
        refuse_unknown(name, datasets, what=f"{where}: unknown dataset", there="pipeline/datasets/ has")
    for name, entry in params.methods.items():
        method = registry.method_of(name)
        refuse_unknown(method, sorted(methods), what=f"{where}: unknown method", there="pipeline/methods/ has")
        for dataset in entry.captions_extra:
            place = f"{where}: methods.{name}: {EXTRA}"
            refuse_unknown(dataset, list(params.datasets), what=f"{place}: unknown dataset", there="datasets has")
            if EXTRA not in methods[method].hyperparameters:
                raise ValueError(f"{place} is given, but {method} does not train with a caption of each frame; leave it out")
        for key in entry.config:
            refuse_unknown(key, methods[method].hyperparameters, what=f"{where}: methods.{name}.config: unknown key", there="there are")
        for key in (key for dataset in (None, *params.datasets) for key in recipes.part(name, dataset).config):
            refuse_unknown(key, methods[method].hyperparameters, what=f"{recipes.place(name)}: config: unknown key", there="there are")
