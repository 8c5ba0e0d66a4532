"""One run under its recipe and params.yaml, and the settings that each rule hands to its stage."""

from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from pipeline.config import recipes
from pipeline.config.dataset import ClipFormat
from pipeline.config.parse import parse
from pipeline.config.schema import Params, Score, Train
from pipeline.config.settings import Annotate, Card, Download, Features, Sampling, Splits, Training, Transfer

T = TypeVar("T")
EXTRA = "captions_extra"  # of a run: files by dataset; of its method: whether it reads them


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


def tested(params: Params, dataset: str) -> list[str]:
    """The other datasets that what was trained on this one is tested on."""
    return [name for name in dict.fromkeys(params.run.transfer) if name != dataset]


def read(params: Params) -> list[str]:
    """The datasets that are read at all: those that are trained on, then those that are tested on alone."""
    return list(dict.fromkeys([*params.run.datasets, *params.run.transfer]))


def config_of(params: Params, name: str, dataset: str | None = None) -> dict[str, Any]:
    """The hyper-parameters that the run's recipe and, over it, params.yaml set for one run on a dataset.

    A file of extra captions sets the one that reads them.
    """
    own = params.methods[name]
    return recipes.part(name, dataset).config | ({EXTRA: True} if dataset in own.captions_extra else {}) | own.config


def extra_of(params: Params, name: str, dataset: str) -> str:
    """The file of extra captions that one run trains with on a dataset, "" where it reads none. ValueError for one that is missing."""
    given, wanted = params.methods[name].captions_extra.get(dataset, ""), config_of(params, name, dataset).get(EXTRA, False)
    if bool(given) != bool(wanted):
        word, end = ("false", f"and {given} is given for it") if given else ("true", "and no file of them is given")
        raise ValueError(f"config.{EXTRA} is {word}, {end}; set it to {str(bool(given)).lower()}, or change {EXTRA} of the run")
    return given


def of_recipe(schema: type[Any], name: str, kind: str, dataset: str | None) -> dict[str, Any]:
    """Values that the recipe of a run sets for its training or its dataset. ValueError for a key that `schema` does not have."""
    values: dict[str, Any] = getattr(recipes.part(name, dataset), kind)
    if values:
        parse(schema, values, where=f"{recipes.place(name)}: {kind}")
    return values


def shape_of(params: Params, dataset: str) -> Sampling:
    """The part of a dataset that a method may know: number and size of frames, words a caption, and how its clips were made."""
    entry = params.datasets[dataset]
    return Sampling(frames=entry.frames, words=entry.words, clips=_part(ClipFormat, entry.clips))


def training(params: Params, run: str, dataset: str, *, search: bool = False) -> Training:
    """Of one run on a dataset, for rule train; with a `search`, for rule rates."""
    return Training(
        dataset=dataset,
        run=run,
        config=config_of(params, run, dataset),
        train=train_of(params, run, dataset),
        shape=shape_of(params, dataset),
        backbone=params.backbone,
        search=params.search if search else None,
    )


def scaled(settings: Training, gain: float) -> Training:
    """Both learning rates times `gain`."""
    train = settings.train
    return replace(settings, train=replace(train, lr=train.lr * gain, clip_lr=train.clip_lr * gain))


def features(params: Params, dataset: str) -> Features:
    return Features(backbone=params.backbone, shape=shape_of(params, dataset), cache=params.cache)


def download(params: Params, dataset: str) -> Download:
    """The section `motion` goes to the embedded dataset alone, so that another one does not fetch anew when it changes."""
    return _part(Download, params.datasets[dataset], motion=params.motion if dataset == "motion" else None)


def annotate(params: Params, dataset: str) -> Annotate:
    return _part(Annotate, params.datasets[dataset])


def splits(params: Params, dataset: str) -> Splits:
    return _part(Splits, params.datasets[dataset])


def card(params: Params, dataset: str) -> Card:
    return Card(params.datasets[dataset], backbone=params.backbone.name, tokenizer=params.backbone.tokenizer)


def score(params: Params, dataset: str) -> Score:
    """The galleries are those of one dataset; what needs more than a query and the gallery has a rule of its own."""
    own = {name: gallery for name, gallery in (params.score.galleries or {}).items() if gallery.dataset == dataset}
    return replace(params.score, galleries=own or None, transductive=False)


def transfer(params: Params) -> Transfer:
    """Galleries are those of a dataset's own test."""
    return Transfer(backbone=params.backbone, score=replace(params.score, galleries=None, transductive=False))


def _part(schema: type[T], values: object, **others: Any) -> T:
    """The fields of one dataclass out of another that has them too, and `others`."""
    named: Any = schema
    return schema(**{entry.name: getattr(values, entry.name) for entry in fields(named) if entry.name not in others}, **others)
