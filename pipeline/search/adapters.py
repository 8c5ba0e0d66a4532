"""Which adapters a gallery is indexed with, and where their indexes lie."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.config.dataset import Frames
from pipeline.config.parse import stated
from pipeline.config.registry import PLAIN
from pipeline.config.resolve import shape_of
from pipeline.config.schema import Backbone, Params, Train
from pipeline.config.settings import Sampling
from pipeline.search.index import NAME

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")


def refuse_no_folder(name: str, *, what: str) -> str:
    """`name`, or ValueError if it cannot be the name of a folder."""
    if not FOLDER.fullmatch(name):
        raise ValueError(f"{what} {name!r} cannot be a folder's name; use letters, digits, dots, dashes and underscores")
    return name


def place(indexes: Path, gallery: str, header: dict[str, Any], adapter: Path) -> Path:
    """The index of an adapter: <gallery>/<backbone>/<run>/<seed>/index.h5. ValueError for a header whose names are no folders."""
    names = [refuse_no_folder(str(header[key]), what=f"{adapter}: {key}") for key in ("backbone", "run")]
    return Path(indexes, gallery, *names, str(header["seed"]), NAME)


def plain(indexes: Path, gallery: str, *, encoder: Encoder, shape: Sampling) -> Path:
    """The adapter of CLIP as it is, as a training of `zero_shot` would write it; one that is there already stays."""
    header = {"run": PLAIN, "config": {}, "train": stated(Train()), "shape": stated(shape), "dataset": "", "seed": 0}
    header |= checkpoint.described(encoder.clip)
    target = place(indexes, gallery, header, Path(PLAIN)).with_name("adapter.safetensors")
    if not target.is_file() or checkpoint.read_header(target) != header:
        checkpoint.save(target, {}, header=header)
    return target


def plain_shape(params: Params | None, dataset: str | None, *, encoder: Encoder) -> Sampling:
    """Frames, words and clips of plain CLIP: those of `dataset`, or the first one that is run, in a params.yaml of this backbone."""
    own = (dataset or params.run.datasets[0]) if params is not None else ""
    if params is not None and own in params.datasets and params.backbone.name == encoder.clip.name:
        return shape_of(params, own)
    clip = encoder.clip
    return Sampling(frames=Frames(size=clip.image_size, resize=clip.resize, interpolation=clip.interpolation))


def backbone(params: Params | None, name: str | None, weights: str | None, *, adapter: Path | None) -> Backbone:
    """The backbone as named, else that of params.yaml, with pictures and words as an adapter on it says. ValueError if neither names it."""
    named = _named(params, name, weights)
    header = checkpoint.read_header(adapter) if adapter else {}
    if adapter is None or header["backbone"] != named.name:  # an adapter of another one is refused later
        return named
    return checkpoint.backbone(header, adapter, named.weights, tokenizer=named.tokenizer)


def _named(params: Params | None, name: str | None, weights: str | None) -> Backbone:
    if name and weights:
        return Backbone(name, weights)
    if params is None:
        raise ValueError("there is no params.yaml here that names a backbone; give --backbone and --weights")
    if name and name != params.backbone.name:
        raise ValueError(f"params.yaml names backbone {params.backbone.name}, not {name}; give --weights, too")
    return replace(params.backbone, weights=weights or params.backbone.weights)
