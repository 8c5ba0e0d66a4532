"""Train one method with one seed. Test files are not among the arguments."""

import argparse
import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from dvclive.live import Live

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, load_backbone
from pipeline.config import registry
from pipeline.config.schema import Backbone, Dataset, Train, from_json
from pipeline.core import locks, record
from pipeline.core.code import fingerprint
from pipeline.core.files import read_json, write_json
from pipeline.cost.measure import parameters
from pipeline.inputs.split import Split, open_split
from pipeline.runtime import device
from pipeline.runtime.distributed import Team, join, leave
from pipeline.stages import guarded
from pipeline.stages.arguments import add_machine, add_split, split_files
from pipeline.training.loop import train


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


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--search", type=Path, help="trials of learning rates, whose best gain is taken")
    for name in ("adapter", "record", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="to write")
    args = parser.parse_args()
    settings = from_json(Train, args.settings, where="train")
    if args.search:
        settings = scaled(settings, read_json(args.search)["gain"])
    job = prepare(args, settings=settings, seed=args.seed)
    state = args.adapter.with_name(f"state-{job.fingerprint}.pt")
    told = f"a training that outlived its Snakemake is at work in {args.adapter.parent}"  # two would write the same files
    lock = locks.only_one(args.adapter.with_name(".train.lock"), told=told) if job.team.first else contextlib.nullcontext()
    with lock:
        _train(args, job, settings, state)


def _train(args: argparse.Namespace, job: Job, settings: Train, state: Path) -> None:
    tensors, progress = train(
        job.clip,
        job.data,
        settings=settings,
        seed=args.seed,
        device=job.device,
        state=state,
        fingerprint=state.stem,
        report=_curves(args.curves) if job.team.first else _nothing,
        workers=args.workers,
        save_every=args.save_every,
        team=job.team,
    )
    leave()
    if not job.team.first:
        return
    checkpoint.save(args.adapter, tensors, header=job.header)
    seconds, videos = (sum(epoch[key] for epoch in progress.epochs) for key in ("seconds", "videos"))
    write_json(
        args.record,
        {
            "status": "finished",
            "adapter": record.sha256(args.adapter),
            "epochs": progress.epochs,
            "selected_epoch": progress.selected_epoch,
            "stores": job.data[0].stores,
            "train_seconds": seconds,
            "train_videos_per_second": videos / seconds if seconds else None,
            "train_peak_bytes": progress.step_bytes,
            "parameters": parameters(job.clip, progress.alive),
            "record": job.about,
        },
    )
    for old in args.adapter.parent.glob("state-*"):
        old.unlink()


def prepare(args: argparse.Namespace, *, settings: Train, seed: int) -> Job:
    """Open backbone and data, attach the method, and say what the result will depend on."""
    place = device.choose(args.device)
    team = join(place)
    device.prepare(place, threads=args.threads, seed=seed, tf32=settings.tf32, deterministic=settings.deterministic)
    backbone, shape = from_json(Backbone, args.backbone, where="backbone"), from_json(Dataset, args.shape, where="datasets")
    clip = load_backbone(backbone)
    method = methods.load(args.run, config=json.loads(args.config))
    methods.attach(clip, method, shape=methods.Shape(num_frames=shape.frames.number, num_words=shape.words))
    clip.to(place)
    files = split_files(args, "train_"), split_files(args, "val_")
    data = open_split(files[0], clip=clip, shape=shape), open_split(files[1], clip=clip, shape=shape)
    inputs = {f"{split}_{key}": path for split, of in zip(("train", "val"), files, strict=True) for key, path in of.given().items()}
    about = record.describe(device=device.title(place), threads=args.threads, inputs=inputs) | {"processes": team.size}
    header = _header(args, clip, about, config=dict(vars(method)), settings=settings, seed=seed)
    return Job(clip, data, settings, place, team, about, header, _fingerprint(header, about | {"device": place.type}, args))


def scaled(settings: Train, gain: float) -> Train:
    """Both learning rates times `gain`."""
    return replace(settings, lr=settings.lr * gain, clip_lr=settings.clip_lr * gain)


def _header(
    args: argparse.Namespace, clip: FrozenClip, about: dict[str, Any], *, config: dict[str, Any], settings: Train, seed: int
) -> dict[str, Any]:
    """What an adapter belongs to."""
    return {
        "run": args.run,
        "config": config,
        "train": vars(settings),
        "shape": json.loads(args.shape),
        "backbone": clip.name,
        "backbone_digest": clip.digest,
        "dataset": args.dataset,
        "dataset_fingerprint": about["inputs"],
        "seed": seed,
        "commit": about["commit"],
    }


def _fingerprint(header: dict[str, Any], about: dict[str, Any], args: argparse.Namespace) -> str:
    """Everything the result depends on: another commit with the same code may continue a run, other code may not."""
    parts: list[Any] = [{k: v for k, v in header.items() if k != "commit"}]
    parts += [about[key] for key in ("device", "threads", "processes", "versions")]
    parts.append(fingerprint("pipeline.stages.train", registry.module_of(args.run)))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _curves(folder: Path) -> Callable[[list[dict[str, Any]]], None]:
    """Learning curves by DVCLive, written anew by every start, so that a resumed run has each epoch once."""
    live = Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)
    # A method that trains nothing has no curve, but the folder that DVC looks for.
    (folder / "plots/metrics").mkdir(parents=True, exist_ok=True)

    def report(epochs: list[dict[str, Any]]) -> None:
        for epoch in epochs[live.step :]:
            live.log_metric("train/loss", epoch["loss"])
            for name, value in (epoch["val"] or {}).items():
                if value is not None:
                    live.log_metric(f"val/{name}", value)
            live.next_step()  # type: ignore[no-untyped-call]
        if epochs:
            print(f"epoch {epochs[-1]['epoch']}: {json.dumps(epochs[-1])}", flush=True)

    return report


def _nothing(epochs: list[dict[str, Any]]) -> None:
    """The first process of a team speaks for all."""


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every training is given: its data, its method, its settings, its machine."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("dataset", "run"):
        parser.add_argument(f"--{name}", required=True)
    for split in ("train", "val"):
        add_split(parser, prefix=f"{split}-")
    for name in ("backbone", "settings", "config", "shape"):
        parser.add_argument(f"--{name}", required=True, help="a part of params.yaml, as JSON")
    add_machine(parser)
    parser.add_argument("--save-every", type=int, default=0, help="steps between two states to go on from; 0: at the end of an epoch only")
    return parser


if __name__ == "__main__":
    guarded(main)
