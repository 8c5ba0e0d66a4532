"""The schema of params.yaml: its keys, types, defaults and meaning.

A key that is not here is an error with a suggestion. A comment after a field is its documentation; there is no second list.
"""

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, OmegaConf

from pipeline import recipes, registry
from pipeline.parse import limited, parse, refuse_unknown

T = TypeVar("T")
CHOICES = {
    "captions": ("one", "all"),
    "select": ("last", "best"),
    "precision": ("float32", "bfloat16"),
    "optimiser": ("adamw", "bert_adam"),
    "schedule": ("cosine", "bert"),
    "decay": ("matrices", "all", "released"),
}


@dataclass
class Run:
    """What `snakemake` and `dvc repro` compute."""

    datasets: list[str] = MISSING
    methods: list[str] = MISSING  # keys of `methods` below
    seeds: list[int] = MISSING


@dataclass
class Motion:
    """The embedded dataset: how many clips of which kind to render."""

    seed: int = 7
    train: int = limited(1500, least=2)
    val: int = limited(200, least=1)
    test: int = limited(300, least=1)
    objects: list[float] = field(default_factory=lambda: [0.6, 0.3, 0.1])  # share of clips with one, two, three objects


@dataclass
class Clips:
    """The canonical video: H.264 at a constant rate with a short GOP and no audio."""

    short_side: int = limited(224, least=16)  # pixels
    fps: int = limited(3, least=1)
    crf: int = 20
    shard: int = limited(200, least=1)  # videos a job


@dataclass
class Frames:
    """The frames every method sees. `grid`: one of pipeline/video/grid.py."""

    number: int = limited(12, least=1)
    size: int = limited(224, least=1)  # pixels; the backbone's image size
    grid: str = "centres"


@dataclass
class Missing:
    """The largest share of a split's videos that may be missing or broken before the run stops."""

    train: float = 0.01
    val: float = 0.0
    test: float = 0.0


@dataclass
class Dataset:
    """How one dataset is prepared and read."""

    words: int = limited(32, least=3)  # tokens a caption, start and end included
    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    missing: Missing = field(default_factory=Missing)


@dataclass
class Backbone:
    """`weights`: a pretrained tag of open_clip, or a file (.pt, .safetensors)."""

    name: str = MISSING
    weights: str = MISSING


@dataclass
class Pretrain:
    """Contrastive pretraining of clip-tiny on still pictures of the motion world."""

    seed: int = 11
    pairs: int = limited(80000, least=1)  # pictures with a caption, each seen once
    batch: int = limited(128, least=2)
    words: int = limited(20, least=3)
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.08  # share of the steps


@dataclass
class Train:
    """One trainer for all methods; a method overrides what differs."""

    epochs: int = limited(5, least=1)
    batch: int = limited(32, least=2)
    lr: float = 1e-3  # of attached modules
    clip_lr: float = 1e-5  # of CLIP's own tensors, where a method trains them
    weight_decay: float = 0.2  # of the tensors that `decay` names
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-6
    warmup: float = 0.1  # share of the steps
    clip_norm: float = 1.0  # global norm of the gradient
    captions: str = "one"  # captions of a video in an epoch: `one` drawn at random, or `all`
    select: str = "last"  # the checkpoint: `last` epoch, or the `best` on validation by R-Sum both ways
    validate_every: int = limited(1, least=1)  # epochs; the last one is always validated
    precision: str = "float32"  # or `bfloat16`: autocast of the towers
    optimiser: str = "adamw"  # or `bert_adam`: moments not corrected for their start, each tensor's gradient clipped to norm 1 as well
    schedule: str = "cosine"  # linear warm-up to 1, then a whole cosine; or `bert`: from 0, and the cosine of all steps cut in at `warmup`
    decay: str = "matrices"  # what decays: weights of linear maps and convolutions; `all`; or `released`: attached non-biases, CLIP's all
    half: bool = False  # weights of linear maps, convolutions, attention rounded to float16, with gradients and moments; bert_adam only
    gradient_gain: float = 1.0  # on every gradient before clipping; 0.125 is what slicing, then averaging over 8 processes leaves
    checkpointing: bool = False  # compute each block again in the backward pass: less memory, more time, the same numbers


@dataclass
class Search:
    """A search of learning rates: the same factor on lr and clip_lr."""

    gains: list[float] = field(default_factory=list)  # each tried by one short training scored on validation; empty: no search
    epochs: int = limited(3, least=1)
    seed: int = 100


@dataclass
class Score:
    """How metrics are made certain."""

    bootstrap: int = limited(2000, least=1)  # resamples of the queries
    confidence: float = 0.95
    seed: int = 0


@dataclass
class Method:
    """One run: the hyper-parameters of its method, and what differs from `train`. Both override its recipe, if it has one."""

    config: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] | None = None  # of this run, where they are not those of `run`


@dataclass
class Params:
    """The whole of params.yaml."""

    run: Run = field(default_factory=Run)
    motion: Motion = field(default_factory=Motion)
    datasets: dict[str, Dataset] = MISSING
    backbone: Backbone = field(default_factory=Backbone)
    pretrain: Pretrain = field(default_factory=Pretrain)
    train: Train = field(default_factory=Train)
    methods: dict[str, Method] = MISSING
    search: Search = field(default_factory=Search)
    score: Score = field(default_factory=Score)
    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...


def check(values: Mapping[str, Any], *, where: str = "params.yaml") -> Params:
    """The whole configuration, with what its parts must agree on. Raises ValueError."""
    params = parse(Params, values, where=where)
    for kind, wanted, known in (("datasets", params.run.datasets, params.datasets), ("methods", params.run.methods, params.methods)):
        for name in wanted:
            refuse_unknown(name, list(known), what=f"{where}: run.{kind} names", there=f"{kind} has entries for")
    for name in params.methods:
        if "/" in name or not name:
            raise ValueError(f"{where}: methods.{name} cannot be a folder's name")
        _refuse_unknown_recipe(params, name, where=where)
        for dataset in (None, *params.datasets):
            train_of(params, name, dataset, where=where)
    for name in params.run.methods:
        for dataset in params.run.datasets:
            _refuse_other_dataset(params, name, dataset, where=where)
    if not all(gain > 0 for gain in params.search.gains):
        raise ValueError(f"{where}: search: gains are {params.search.gains}; all must be positive")
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
    if len(train.betas) != 2:
        raise ValueError(f"{place}: betas is {train.betas}; give two numbers")
    if train.half and train.optimiser != "bert_adam":
        raise ValueError(f"{place}: half needs optimiser: bert_adam, not {train.optimiser}")
    if not train.gradient_gain > 0:
        raise ValueError(f"{place}: gradient_gain is {train.gradient_gain}; it must be positive")
    return train


def config_of(params: Params, name: str, dataset: str | None = None) -> str:
    """The hyper-parameters that the run's recipe and, over it, params.yaml set for one run on a dataset, as JSON."""
    return json.dumps(recipes.part(name, dataset).config | params.methods[name].config, sort_keys=True)


def _of_recipe(schema: type[Any], name: str, kind: str, dataset: str | None) -> dict[str, Any]:
    """What the recipe of a run says of its training or its dataset. ValueError for a key that `schema` does not have."""
    values: dict[str, Any] = getattr(recipes.part(name, dataset), kind)
    if values:
        parse(schema, values, where=f"{recipes.place(name)}: {kind}")
    return values


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


def load(path: str | Path) -> Params:
    """Read and check a params.yaml. Raises ValueError."""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no {file}; run from the folder that holds params.yaml")
    return check(typing.cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file))), where=str(file))


def from_json(schema: type[T], text: str, *, where: str) -> T:
    """The part of the configuration that a rule hands to its stage on the command line."""
    return parse(schema, json.loads(text), where=where)


def to_json(part: Any) -> str:
    """The inverse of `from_json`, with sorted keys, so that equal settings are equal text."""
    return json.dumps(asdict(part), sort_keys=True)


def known_files(params: Params, package: Path, *, where: str = "params.yaml") -> None:
    """ValueError for a method or a dataset without a file, and for a hyper-parameter that its method does not have.

    The files are read, not imported: this runs before every workflow, and importing torch would take longer than all the rest.
    """
    methods = registry.entries(package / "methods")
    datasets = sorted(path.stem for path in (package / "datasets").glob("*.py") if path.stem != "__init__")
    for name in params.datasets:
        refuse_unknown(name, datasets, what=f"{where}: unknown dataset", there="pipeline/datasets/ has")
    for name, entry in params.methods.items():
        method = registry.method_of(name)
        refuse_unknown(method, sorted(methods), what=f"{where}: unknown method", there="pipeline/methods/ has")
        for key in entry.config:
            refuse_unknown(key, methods[method].hyperparameters, what=f"{where}: methods.{name}.config: unknown key", there="there are")
        for key in (key for dataset in (None, *params.datasets) for key in recipes.part(name, dataset).config):
            refuse_unknown(key, methods[method].hyperparameters, what=f"{recipes.place(name)}: config: unknown key", there="there are")


def shape_of(params: Params, dataset: str) -> str:
    """What a method may know of a dataset, as JSON: the number and size of frames and the words a caption."""
    entry = params.datasets[dataset]
    return json.dumps({"frames": asdict(entry.frames), "words": entry.words}, sort_keys=True)
