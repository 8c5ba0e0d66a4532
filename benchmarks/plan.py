"""Time of the whole benchmark on a cluster: five datasets, all methods, three seeds, on a number of GPUs. Nothing is measured here.

Work is counted (`pipeline/cost/measure.py`, ViT-B/32); what a GPU gets done of it in a second is an assumption, and so is the rate at which
frames are read: give your own. `python -m benchmarks.plan` takes a minute or two. A training is pairs x epochs x
(forward + the same back + once more where CLIP itself is trained) of the blocks above the store that it reads, or the time to read the
store, whichever is longer. Stores are computed once for all methods and seeds.
"""

import argparse
import heapq
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build, forward
from pipeline.config import protocols, registry
from pipeline.config.schema import Train
from pipeline.core.files import write_json
from pipeline.cost import measure
from pipeline.inputs import frozen
from pipeline.methods import Shape
from pipeline.runtime import device
from pipeline.stages import guarded

# Training videos, and all videos of all splits (docs/datasets.md); a video is seen with one caption in an epoch.
VIDEOS = {
    "msrvtt": (9_000, 10_000),
    "msvd": (1_200, 1_970),
    "lsmdc": (101_079, 109_487),
    "didemo": (8_395, 10_461),
    "activitynet": (10_009, 14_926),
}
FRAME_BYTES, TOKEN_BYTES = 150_528, 76_800  # of a frame: as pixels, and as float16 tokens of ViT-B/32


@dataclass(frozen=True)
class Job:
    """A piece of work for one GPU. `after`: the store that it waits for."""

    title: str
    hours: float
    after: str = ""


def main() -> None:
    args = _arguments()
    device.prepare(torch.device("cpu"), threads=args.threads, seed=0)
    clip = FrozenClip(build(args.backbone), name=args.backbone)
    rows, stores, trainings = [], list[Job](), list[Job]()
    for dataset in VIDEOS:
        entry = protocols.fill({"run": {"datasets": registry.datasets()}}, where="protocols")["datasets"][dataset]
        shape = Shape(num_frames=entry["frames"]["number"], num_words=entry["words"])
        hours = Counter[str]()
        for name in args.method or methods.names():
            found = _training(clip, name, dataset, shape=shape, args=args)
            trainings += [Job(f"{dataset} {name} {seed}", found["hours"], found["store"]) for seed in range(args.seeds)]
            hours["training"] += args.seeds * found["hours"]
            if found["store"] and found["store"] not in {job.title for job in stores}:
                stores.append(Job(found["store"], found["store_hours"]))
                hours["stores"] += found["store_hours"]
            rows.append(found | {"dataset": dataset, "method": name})
            print(f"{dataset} {name}: {found['hours']:.2f} GPU hours a seed, from {found['store'] or 'frames.h5'}", flush=True)
        print(f"{dataset}: {hours['training']:.1f} GPU hours of training, {hours['stores']:.1f} of stores", flush=True)
    total, wall = sum(job.hours for job in stores + trainings), makespan(stores, trainings, gpus=args.gpus)
    print(f"{len(trainings)} trainings, {len(stores)} stores: {total:.1f} GPU hours, {wall:.1f} hours on {args.gpus} GPUs")
    if args.json:
        write_json(args.json, {"rows": rows, "gpu_hours": total, "hours": wall, "trainings": len(trainings), "stores": len(stores)})


def _training(clip: FrozenClip, name: str, dataset: str, *, shape: Shape, args: argparse.Namespace) -> dict[str, Any]:
    """Hours of one training and the embedding of the other splits, and of the store of videos that it reads."""
    methods.attach(clip, methods.load(name, config={}), shape=shape)
    trained = sum(p.numel() for p in clip.trained().values())
    whole = trained > sum(p.numel() for p in clip.model.parameters()) / 2
    reach = frozen.reaches(clip)["vision"].level
    clip.merge()
    work_of = measure.macs(clip, num_frames=shape.num_frames, num_words=shape.num_words, device=clip.mean.device)
    clip.detach_all()
    videos, everything = VIDEOS[dataset]
    # Work left above a store: the last norm and projection, or a head, are counted as a hundredth.
    left = max(1 - reach / clip.vision.top, 0.01)
    above = left * work_of["macs_per_video"] + work_of["macs_per_caption"]
    epochs = args.epochs if trained else 0
    work = epochs * videos * above * (3 if whole else 2) + (everything - videos) * above
    size = shape.num_frames * (FRAME_BYTES if not reach else TOKEN_BYTES if reach < clip.vision.top else TOKEN_BYTES / 50)
    seconds = max(work / (args.tmacs * 1e12), (epochs * videos + everything - videos) * size / (args.read * 1e9))
    store = f"{dataset} vision@{forward.title(reach, top=clip.vision.top)}" if reach else ""
    written = everything * work_of["macs_per_video"] * min(reach / clip.vision.top, 1) / (args.tmacs * 1e12)
    return {"hours": (seconds + args.start) / 3600, "store": store, "store_hours": (written + args.start) / 3600 if store else 0.0}


def makespan(stores: list[Job], trainings: list[Job], *, gpus: int) -> float:
    """Hours until all is done, the longest first, on equal GPUs: stores, then what reads them."""
    free = [0.0] * gpus
    ready: dict[str, float] = {"": 0.0}
    for job in sorted(stores, key=lambda job: -job.hours) + sorted(trainings, key=lambda job: -job.hours):
        end = max(heapq.heappop(free), ready[job.after]) + job.hours
        heapq.heappush(free, end)
        ready[job.title] = end
    return max(free)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    parser.add_argument("--method", nargs="+", default=[], help="without it all")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=Train().epochs)
    parser.add_argument("--tmacs", type=float, default=5.0, help="multiply-accumulates that a GPU gets done in a second, in 10^12")
    parser.add_argument("--read", type=float, default=1.0, help="GB that a job reads in a second")
    parser.add_argument("--start", type=float, default=60.0, help="seconds before a job computes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
