"""A training about to start: a method on its backbone, with its data, and what its result will depend on."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, load_backbone
from pipeline.config import registry
from pipeline.config.parse import stated
from pipeline.config.schema import Train
from pipeline.config.settings import Training
from pipeline.core import record
from pipeline.core.code import fingerprint
from pipeline.inputs.split import Files, Split, open_split
from pipeline.runtime.device import choose, precision, title
from pipeline.runtime.device import prepare as prepare_device
from pipeline.runtime.distributed import Team, join


@dataclass
class Job:
    """A method attached to its backbone, with the data to train and to validate it."""

    clip: FrozenClip
    data: tuple[Split, Split]
    settings: Train
    device: torch.device
    team: Team
    about: dict[str, Any]
    header: dict[str, Any]
    fingerprint: str


def prepare(settings: Training, files: tuple[Files, Files], *, seed: int, device: str, threads: int) -> Job:
    """Open backbone and data, train and val, attach the method, and say what the result will depend on."""
    place, train = choose(device), settings.train
    team = join(place)
    prepare_device(place, threads=threads, seed=seed, tf32=train.tf32, deterministic=train.deterministic)
    shape = settings.shape
    clip = load_backbone(settings.backbone)
    method = methods.load(settings.run, config=settings.config)
    _refuse_pieces(settings, method, team)
    methods.attach(clip, method, shape=methods.Shape(num_frames=shape.frames.number, num_words=shape.words))
    clip.to(place)
    data = open_split(files[0], clip=clip, shape=shape), open_split(files[1], clip=clip, shape=shape)
    inputs = {f"{split}_{key}": path for split, of in zip(("train", "val"), files, strict=True) for key, path in of.given().items()}
    about = record.describe(device=title(place), threads=threads, inputs=inputs) | {
        "processes": team.size,
        "precision": precision(train.precision, place),
    }
    header = _header(settings, clip, about, config=stated(method), seed=seed)
    return Job(clip, data, train, place, team, about, header, _fingerprint(header, about | {"device": place.type}))


def _refuse_pieces(settings: Training, method: methods.Method, team: Team) -> None:
    """ValueError where the batch is not computed as a whole, though embeddings depend on the videos beside them."""
    pieces = 0 < settings.train.chunk < settings.train.batch
    if methods.sees_batch(method) and (pieces or team.size > 1):
        what = f"train.chunk is {settings.train.chunk}" if pieces else f"there are {team.size} processes"
        raise ValueError(
            f"{what}, but embeddings of {settings.run} depend on the whole batch of {settings.train.batch}; "
            "set train.chunk to 0, run it in one process, or let the method look at one video at a time"
        )


def _header(settings: Training, clip: FrozenClip, about: dict[str, Any], *, config: dict[str, Any], seed: int) -> dict[str, Any]:
    """The header of an adapter: the run, backbone, data, seed and code that it belongs to."""
    return {
        "run": settings.run,
        "config": config,
        "train": stated(settings.train),
        "shape": stated(settings.shape),
        **checkpoint.described(clip),
        "dataset": settings.dataset,
        "dataset_fingerprint": about["inputs"],
        "seed": seed,
        "precision": about["precision"],
        "commit": about["commit"],
    }


def _fingerprint(header: dict[str, Any], about: dict[str, Any]) -> str:
    """Everything the result depends on: another commit with the same code may continue a run, other code may not."""
    parts: list[Any] = [{k: v for k, v in header.items() if k != "commit"}]
    parts += [about[key] for key in ("device", "threads", "processes", "versions")]
    parts.append(fingerprint("pipeline.stages.train", registry.module_of(header["run"])))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
