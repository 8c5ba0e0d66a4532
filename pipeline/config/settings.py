"""Settings of a stage: one dataclass with exactly the values whose change runs its rule again, as JSON text or in a file.

Rules score, report, pretrain, embed, frames and transcode hand on a part of params.yaml as it is (schema.py, dataset.py).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.dataset import ClipFormat, Dataset, Frames, Missing, Motion, Own
from pipeline.config.parse import limited, parse, stated
from pipeline.config.schema import Backbone, Cache, Score, Search, Train

T = TypeVar("T")


@dataclass
class Sampling:
    """Sampling of videos and captions that an adapter must know; with it alone, anyone can prepare their own videos the same way."""

    frames: Frames = field(default_factory=Frames)
    words: int = limited(32, least=3)
    clips: ClipFormat = field(default_factory=ClipFormat)


@dataclass
class Training:
    """Of rules train and rates. `config`: hyper-parameters of the method under its recipe. `search`: of rates alone."""

    dataset: str
    run: str
    config: dict[str, Any]
    train: Train
    shape: Sampling
    backbone: Backbone
    search: Search | None = None


@dataclass
class Features:
    """Of rule features."""

    backbone: Backbone
    shape: Sampling
    cache: Cache


@dataclass
class Download:
    """Of rule download. `motion` is the embedded dataset's, None for every other."""

    variant: str
    videos: str
    annotations: str
    captions: str
    mirrors: dict[str, str]
    motion: Motion | None = None


@dataclass
class Annotate:
    """Of rule annotate."""

    variant: str
    validation: str
    counts: str
    videos: str
    annotations: str
    captions: str
    exclude: str
    own: Own
    mirrors: dict[str, str]


@dataclass
class Splits:
    """Of rule splits."""

    captions_as: str
    missing: Missing


@dataclass
class Card:
    """Of rule card. `backbone` and the folder `tokenizer`, as in `Backbone`, say whose tokens are counted."""

    dataset: Dataset
    backbone: str
    tokenizer: str = ""


@dataclass
class Transfer:
    """Of rule transfer."""

    backbone: Backbone
    score: Score


def text(part: Any) -> str:
    """JSON of a dataclass with sorted keys, so that equal settings are equal text."""
    return json.dumps(stated(part), sort_keys=True)


def read(schema: type[T], given: str, *, where: str = "--settings") -> T:
    """Settings from JSON text, as a rule gives it, or from a file that holds it. ValueError names what is wrong and where."""
    if not given.lstrip().startswith("{"):
        where = given
        if not Path(given).is_file():
            raise ValueError(f"--settings is {given!r}, which is neither JSON text in braces nor a file; give one of them")
        given = Path(given).read_text(encoding="utf-8")
    try:
        values = json.loads(given)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON: {error}") from error
    return parse(schema, values, where=where)
