"""params.yaml as a whole: its values under protocols and recipes, and what its parts must agree on."""

import json
import re
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.config import protocols, recipes, registry
from pipeline.config.parse import choose, parse, refuse_unknown
from pipeline.config.schema import Dataset, Params, Train

CHOICES = {
    "captions": ("one", "all"),
    "select": ("last", "best"),
    "precision": ("float32", "bfloat16", "float16"),
    "optimiser": ("adamw", "bert_adam"),
    "schedule": ("cosine", "bert"),
    "decay": ("matrices", "all", "released"),
}
STORES = {"store": ("auto", "frames", "clips", "all"), "text_store": ("auto", "captions", "all")}
DATASET_CHOICES = {
    "validation": ("clean", "paper"),
    "captions_as": ("published", "paragraph"),
    "counts": ("assert", "report"),
}


def check(values: Mapping[str, Any], *, where: str = "params.yaml") -> Params:
    """The whole configuration, with what its parts must agree on. Raises ValueError."""
    _refuse_accumulation(values, where=where)
    params = parse(Params, protocols.fill(values, where=where), where=where)
    for name, entry in params.datasets.items():
        _refuse_contradictions(name, entry, where=where)
    for kind, wanted, known in (("datasets", params.run.datasets, params.datasets), ("methods", params.run.methods, params.methods)):
        for name in wanted:
            refuse_unknown(name, list(known), what=f"{where}: run.{kind} names", there=f"{kind} has entries for")
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
    choose(params.cache.dtype, ("float16", "float32", "bfloat16"), what=f"{where}: cache: dtype")
    if params.pretrain.pairs < params.pretrain.batch:
        raise ValueError(f"{where}: pretrain: {params.pretrain.pairs} pairs do not fill a batch of {params.pretrain.batch}")
    return params


def train_of(params: Params, name: str, dataset: str | None = None, *, where: str = "params.yaml") -> Train:
    """The training of one run on a dataset: the shared section, over it the run's recipe, over both the run's own values."""
    place, own = f"{where}: methods.{name}.train", params.methods[name].train
    values = asdict(params.train) | _of_recipe(Train, name, "train", dataset)
    train = parse(Train, values | dict(own), where=place)
    for key, allowed in CHOICES.items():
        if getattr(train, key) not in allowed:
            raise ValueError(f"{place}: {key} is {getattr(train, key)!r}; choose {' or '.join(allowed)}")
    for key, names in STORES.items():
        if getattr(train, key) not in names and not getattr(train, key).isdecimal():
            raise ValueError(f"{place}: {key} is {getattr(train, key)!r}; choose {', '.join(names)} or a number of blocks")
    if len(train.betas) != 2:
        raise ValueError(f"{place}: betas is {train.betas}; give two numbers")
    if train.half and train.optimiser != "bert_adam":
        raise ValueError(f"{place}: half needs optimiser: bert_adam, not {train.optimiser}")
    if train.half and train.precision == "float16":
        raise ValueError(f"{place}: half already rounds to float16 what precision: float16 scales; choose one")
    if not train.gradient_gain > 0:
        raise ValueError(f"{place}: gradient_gain is {train.gradient_gain}; it must be positive")
    return train


def seeds_of(params: Params, name: str) -> list[int]:
    """The seeds of one run: its own, or those of all."""
    return params.methods[name].seeds or params.run.seeds


def config_of(params: Params, name: str, dataset: str | None = None) -> str:
    """The hyper-parameters that the run's recipe and, over it, params.yaml set for one run on a dataset, as JSON."""
    return json.dumps(recipes.part(name, dataset).config | params.methods[name].config, sort_keys=True)


def _of_recipe(schema: type[Any], name: str, kind: str, dataset: str | None) -> dict[str, Any]:
    """What the recipe of a run says of its training or its dataset. ValueError for a key that `schema` does not have."""
    values: dict[str, Any] = getattr(recipes.part(name, dataset), kind)
    if values:
        parse(schema, values, where=f"{recipes.place(name)}: {kind}")
    return values


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
    for key, value in recipes.flat(_of_recipe(Dataset, name, "dataset", dataset)).items():
        if has[key] != value:
            raise ValueError(
                f"{where}: datasets.{dataset}.{key} is {has[key]}, but {recipes.place(name)} was made with {value}; "
                f"set datasets.{dataset}.{key}: {value}, or run it from another params.yaml"
            )


def _refuse_contradictions(name: str, entry: Dataset, *, where: str) -> None:
    place = f"{where}: datasets.{name}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(f"{place} cannot be a folder's name; use letters, digits, dots, dashes and underscores")
    for key, allowed in DATASET_CHOICES.items():
        choose(getattr(entry, key), allowed, what=f"{place}: {key}")
    if entry.captions and not entry.videos:
        raise ValueError(f"{place}: captions is set, and videos is not; name the folder of your videos")


def _refuse_choice_on_seen(params: Params, name: str, dataset: str, *, where: str) -> None:
    """With `validation: paper` the validation videos are trained on, and what is best there is what is learned by heart."""
    if params.datasets[dataset].validation == "paper" and (params.search.gains or train_of(params, name, dataset).select == "best"):
        raise ValueError(
            f"{where}: methods.{name}: select: best and search.gains choose on validation videos, which datasets.{dataset}.validation: "
            "paper trains on; set select: last and no gains, or validation: clean"
        )


def load(path: str | Path) -> Params:
    """Read and check a params.yaml. Raises ValueError."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no {file}; run from the folder that holds params.yaml")
    return check(typing.cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file))), where=str(file))


def known_files(params: Params, package: Path, *, where: str = "params.yaml") -> None:
    """ValueError for a method or a dataset without a file, and for a hyper-parameter that its method does not have.

    The files are read, not imported: this runs before every workflow, and importing torch would take longer than all the rest.
    """
    methods = registry.entries(package / "methods")
    datasets = sorted(path.stem for path in (package / "datasets").glob("*.py") if path.stem not in ("__init__", "folder"))
    for name in (name for name, entry in params.datasets.items() if not entry.captions):
        refuse_unknown(name, datasets, what=f"{where}: unknown dataset", there="pipeline/datasets/ has")
    for name, entry in params.methods.items():
        method = registry.method_of(name)
        refuse_unknown(method, sorted(methods), what=f"{where}: unknown method", there="pipeline/methods/ has")
        for key in entry.config:
            refuse_unknown(key, methods[method].hyperparameters, what=f"{where}: methods.{name}.config: unknown key", there="there are")
        for key in (key for dataset in (None, *params.datasets) for key in recipes.part(name, dataset).config):
            refuse_unknown(key, methods[method].hyperparameters, what=f"{recipes.place(name)}: config: unknown key", there="there are")


def shape_of(params: Params, dataset: str) -> str:
    """What a method may know of a dataset, as JSON: the number and size of frames, the words a caption, and how its clips were made.

    The last is for who gets an adapter alone: videos of their own become the same kind of clip.
    """
    entry = params.datasets[dataset]
    clips = {key: value for key, value in asdict(entry.clips).items() if key != "shard"}
    return json.dumps({"frames": asdict(entry.frames), "words": entry.words, "clips": clips}, sort_keys=True)
