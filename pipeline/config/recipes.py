"""Recipes: what a source used to train a method, from recipes/*.yaml, one file a family.

A run of a recipe's name in params.yaml starts from it: defaults, then the recipe, then what params.yaml says of the run. A recipe keeps
what its source states apart from what is ours because the source is silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import MISSING, OmegaConf

from pipeline.config import registry
from pipeline.config.parse import parse, refuse_unknown

FOLDER = Path(__file__).parents[2] / "recipes"


@dataclass
class Part:
    """Values of a run: of its method (`config`), of its training (`train`), and of the dataset it sees (`dataset`)."""

    config: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)  # `words`, `frames`


@dataclass
class Values:
    """The same key is never in both."""

    stated: Part = field(default_factory=Part)  # by the source
    ours: Part = field(default_factory=Part)  # the source is silent, or cannot be followed


@dataclass
class Recipe:
    """One run. `datasets`: what differs there."""

    source: str = MISSING  # paper or code, with the place
    stated: Part = field(default_factory=Part)
    ours: Part = field(default_factory=Part)
    datasets: dict[str, Values] = field(default_factory=dict)


def load() -> dict[str, Recipe]:
    """All recipes by the name of their run. Raises ValueError."""
    return {run: recipe for file in _files(FOLDER) for run, recipe in _read(file).items()}


def place(run: str) -> str:
    """Where a recipe stands, for messages."""
    return next(f"recipes/{file.name}: {run}" for file in _files(FOLDER) if run in _read(file))


def part(run: str, dataset: str | None = None) -> Part:
    """Settings from the recipe of a run, on a dataset if one is named; empty if the run has no recipe."""
    # Every workflow asks this of every run before it starts: the files are read only for a name that can have a recipe.
    recipe = load().get(run) if "@" in run else None
    if recipe is None:
        return Part()
    there = recipe.datasets.get(dataset or "", Values())
    merged: dict[str, dict[str, Any]] = vars(Part())
    for said in (recipe.stated, recipe.ours, there.stated, there.ours):
        merged = {key: merge(old, getattr(said, key)) for key, old in merged.items()}
    return Part(**merged)


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new` in place, in nested mappings too."""
    nested = {key: merge(old[key], value) for key, value in new.items() if isinstance(value, Mapping) and isinstance(old.get(key), Mapping)}
    return {**old, **new, **nested}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"frames": {"number": 12}} -> {"frames.number": 12}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


@cache
def _files(folder: Path) -> list[Path]:
    """ValueError for a run that two files name."""
    files = sorted(folder.glob("*.yaml"))
    seen: dict[str, Path] = {}
    for file in files:
        for run in _read(file):
            if run in seen:
                raise ValueError(f"recipes/{file.name}: {run} is in recipes/{seen[run].name} as well; keep one")
            seen[run] = file
    return files


@cache
def _read(file: Path) -> dict[str, Recipe]:
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    recipes = {run: parse(Recipe, entry or {}, where=f"recipes/{file.name}: {run}") for run, entry in values.items()}
    for run, recipe in recipes.items():
        where = f"recipes/{file.name}: {run}"
        if "@" not in run:
            raise ValueError(f"{where} has the name of a method; call it {run}@ and a word")
        _refuse_both(recipe.stated, recipe.ours, where)
        for dataset, said in recipe.datasets.items():
            refuse_unknown(dataset, registry.datasets(), what=f"{where}: unknown dataset", there="there are")
            _refuse_both(said.stated, said.ours, f"{where}: datasets.{dataset}")
    return recipes


def _refuse_both(stated: Part, ours: Part, where: str) -> None:
    both = sorted(flat(vars(stated)).keys() & flat(vars(ours)).keys())
    if both:
        raise ValueError(f"{where}: {both[0]} is both stated and ours; keep one")
