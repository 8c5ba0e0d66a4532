"""One run under its recipe and params.yaml: its training, its hyper-parameters, its seeds, and the shape of its videos."""

from dataclasses import asdict
from typing import Any

from pipeline.config import recipes
from pipeline.config.parse import parse
from pipeline.config.schema import Params, Train


def train_of(params: Params, name: str, dataset: str | None = None, *, where: str = "params.yaml") -> Train:
    """The training of one run on a dataset: the shared section, over it the run's recipe, over both the run's own values."""
    place, own = f"{where}: methods.{name}.train", params.methods[name].train
    values = asdict(params.train) | of_recipe(Train, name, "train", dataset)
    train = parse(Train, values | dict(own), where=place)
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


def config_of(params: Params, name: str, dataset: str | None = None) -> dict[str, Any]:
    """The hyper-parameters that the run's recipe and, over it, params.yaml set for one run on a dataset."""
    return recipes.part(name, dataset).config | params.methods[name].config


def of_recipe(schema: type[Any], name: str, kind: str, dataset: str | None) -> dict[str, Any]:
    """What the recipe of a run says of its training or its dataset. ValueError for a key that `schema` does not have."""
    values: dict[str, Any] = getattr(recipes.part(name, dataset), kind)
    if values:
        parse(schema, values, where=f"{recipes.place(name)}: {kind}")
    return values


def shape_of(params: Params, dataset: str) -> dict[str, Any]:
    """What a method may know of a dataset: the number and size of frames, the words a caption, and how its clips were made.

    The last is for who gets an adapter alone: videos of their own become the same kind of clip.
    """
    entry = params.datasets[dataset]
    clips = {key: value for key, value in asdict(entry.clips).items() if key != "shard"}
    return {"frames": asdict(entry.frames), "words": entry.words, "clips": clips}
