"""Train one method with one seed. Test files are not among the arguments."""

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvclive.live import Live

from pipeline.adapters import checkpoint
from pipeline.config.resolve import scaled
from pipeline.config.settings import Training, read
from pipeline.core import locks, record
from pipeline.core.files import read_json, write_json
from pipeline.cost.measure import parameters
from pipeline.runtime.distributed import leave
from pipeline.stages import guarded
from pipeline.stages.arguments import training_files, training_parser
from pipeline.training.job import Job, prepare
from pipeline.training.loop import train


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--search", type=Path, help="trials of learning rates, whose best gain is taken")
    for name in ("adapter", "record", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="to write")
    args = parser.parse_args()
    settings = read(Training, args.settings)
    if args.search:
        settings = scaled(settings, read_json(args.search)["gain"])
    job = prepare(settings, training_files(args), seed=args.seed, device=args.device, threads=args.threads)
    state = args.adapter.with_name(f"state-{job.fingerprint}.pt")
    told = f"a training that outlived its Snakemake is at work in {args.adapter.parent}"  # two would write the same files
    lock = locks.only_one(args.adapter.with_name(".train.lock"), told=told) if job.team.first else contextlib.nullcontext()
    with lock:
        _train(args, job, state)


def _train(args: argparse.Namespace, job: Job, state: Path) -> None:
    tensors, progress = train(
        job.clip,
        job.data,
        settings=job.settings,
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


class _Files(Live):
    """DVCLive that writes files and asks neither git nor DVC for anything: there may be no commit, and no repository."""

    def _init_dvc(self) -> None:
        self._dvc_file = self._init_dvc_file()

    def _init_studio(self) -> None:
        self._studio_events_to_skip |= {"start", "data", "done"}


def _curves(folder: Path) -> Callable[[list[dict[str, Any]]], None]:
    """Learning curves by DVCLive, written anew by every start, so that a resumed run has each epoch once."""
    live = _Files(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)
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


if __name__ == "__main__":
    guarded(main)
