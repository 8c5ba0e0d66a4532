"""A split as an adapter embeds it: sampled, attached and computed as its header says."""

import json
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, load_backbone
from pipeline.config.schema import Backbone
from pipeline.core import record
from pipeline.evaluation import embed
from pipeline.evaluation.embeddings import Embeddings
from pipeline.inputs.split import Files, Split, open_split
from pipeline.runtime import device


class Embedded(NamedTuple):
    """`made` of a `split` by a `clip` that has the adapter on; `about`: what a file of it says; `said`: the settings in the header."""

    made: Embeddings
    about: dict[str, str | int]
    clip: FrozenClip
    split: Split
    said: checkpoint.Parts


def embedded(adapter: Path, files: Files, *, backbone: Backbone, place: torch.device, threads: int = 1, workers: int = 0) -> Embedded:
    """Embed the split of `files`, of whatever dataset. `place`, `threads`, `workers`: the machine.

    ValueError if adapter, backbone and files do not fit each other. The record of the training is no part of `about`: it holds measured
    times, and equal adapters give equal embeddings.
    """
    header = checkpoint.read_header(adapter)
    said = checkpoint.parts(header, adapter)
    settings = said.train
    device.prepare(place, threads=threads, seed=header["seed"], tf32=settings.tf32, deterministic=settings.deterministic)
    clip = load_backbone(backbone)
    checkpoint.attach(clip, said, adapter)
    clip.to(place)
    clip.compute_in(device.precision(checkpoint.precision(header), place))
    split = open_split(files, clip=clip, shape=said.shape)
    made = embed.embed(clip, split, device=place, workers=workers, chunk=settings.chunk)
    about = {key: header[key] for key in ("dataset", "backbone", "backbone_digest", "run", "seed")} | {"precision": clip.precision}
    inputs = {str(path): record.sha256(path) for path in files.given().values()}
    about |= {"adapter": record.sha256(adapter), "inputs": json.dumps(inputs, sort_keys=True)}
    return Embedded(made, about, clip, split, said)
