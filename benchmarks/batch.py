"""Cost of the gradient of a whole batch when it is computed in pieces, and when processes share it.

ViT-B/32 with random weights and MV-Adapter, noise for frames, `training/step.py` and an optimiser's step. `python -m benchmarks.batch`
takes about 25 minutes on two cores and 10 GB of memory: peak memory of a process for batches of 16, 64, 256 in pieces of 8; the time of
pieces against that of the batch at once; the time of two processes with a thread each (gloo) against one with a thread.
Nothing else should run.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.processes import together
from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config.schema import Train
from pipeline.core.files import write_json
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Pairs, Split
from pipeline.runtime import device
from pipeline.runtime.distributed import ALONE, Team
from pipeline.stages import guarded
from pipeline.training import optim, step

CPU = torch.device("cpu")
# glibc keeps freed tensors of some megabytes for the next of the same size, and pieces leave gaps: half as much again as they need.
UNPACKED = {"MALLOC_MMAP_THRESHOLD_": str(2**18)}
WORDS = 32


class Noise:
    """A store of noise, each video the same."""

    kind, level = "frames", 0

    def __init__(self, videos: int, frames: int, size: int) -> None:
        self.video_ids, self.num_frames = [str(row) for row in range(videos)], frames
        self._one = torch.randint(0, 256, (1, frames, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, rows: list[int]) -> Videos:
        """Copies: a real batch is as large."""
        return Videos(self._one.repeat(len(rows), 1, 1, 1, 1), torch.ones(len(rows), self.num_frames, dtype=torch.bool))


class Trainer:
    """A method attached to the backbone, and the steps of its training."""

    def __init__(self, args: argparse.Namespace, *, batch: int, team: Team = ALONE) -> None:
        torch.manual_seed(0)
        self.clip = FrozenClip(build(args.backbone), name=args.backbone)
        methods.attach(self.clip, methods.load(args.method, config={}), shape=methods.Shape(args.frames, WORDS))
        self.clip.train()
        self.batch, self.team = batch, team
        self.split = Split(
            store=Noise(batch, args.frames, self.clip.image_size),  # type: ignore[arg-type]
            text=None,
            ids=self.clip.tokenize([f"video number {row}" for row in range(batch)], num_words=WORDS),
            video=np.arange(batch),
            directed=np.zeros(batch, bool),
            caption_ids=[str(row) for row in range(batch)],
        )
        self.optimiser = optim.build(self.clip.trained(), train=Train())

    def pairs(self) -> Pairs:
        return self.split.pairs(self.team.share(np.arange(self.batch)))

    def seconds(self, chunk: int) -> float:
        """Of one step."""
        work = step.prepare(self.clip, self.split, settings=Train(chunk=chunk), team=self.team, device=CPU)
        batch, start = self.pairs(), time.perf_counter()
        self.optimiser.zero_grad(set_to_none=True)
        work.backward(batch, total=self.batch)
        self.optimiser.step()
        return time.perf_counter() - start


def main() -> None:
    args = _arguments()
    if args.one:
        print(_peak(args, args.one))
        return
    found = {"memory": memory(args), "time": pieces(args), "team": team(args)}
    if args.json:
        write_json(args.json, vars(args) | {"json": None, "torch": torch.__version__} | found)


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a process that makes one step."""
    found: dict[str, Any] = {}
    for batch in args.batches:
        options = [f"--{name}={getattr(args, name)}" for name in ("backbone", "method", "frames", "chunk", "threads")]
        command = [sys.executable, "-m", "benchmarks.batch", f"--one={batch}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | UNPACKED)
        found[str(batch)] = int(done.stdout.split()[-1])
        ratio = found[str(batch)] / found[str(args.batches[0])]
        print(f"batch {batch} in pieces of {args.chunk}: {found[str(batch)] / 2**30:.2f} GiB, {ratio:.3f} of the first", flush=True)
    return found


def _peak(args: argparse.Namespace, batch: int) -> int:
    """Bytes."""
    device.prepare(CPU, threads=args.threads, seed=0)
    Trainer(args, batch=batch).seconds(args.chunk)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pieces(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step of the first batch at once and in pieces, in turn, and their ratio: medians."""
    device.prepare(CPU, threads=args.threads, seed=0)
    trainer = Trainer(args, batch=args.batches[0])
    trainer.seconds(args.chunk)
    times = [(trainer.seconds(0), trainer.seconds(args.chunk)) for _ in range(args.repeats)]
    whole, cut = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"batch {args.batches[0]} at once {whole:.2f} s, in pieces of {args.chunk} {cut:.2f} s: {cut / whole:.2f} times", flush=True)
    return {"whole": whole, "pieces": cut, "ratio": cut / whole}


def team(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step by one process with a thread, and by two, and what two take over half of it."""
    one, two = (max(together(Timed(args), size=size)) for size in (1, 2))
    print(f"one process {one:.2f} s, two {two:.2f} s: {2 * two / one - 1:+.1%} over half", flush=True)
    return {"one": one, "two": two, "overhead": 2 * two / one - 1}


@dataclass(frozen=True)
class Timed:
    """Seconds of a step in one process of a team."""

    args: argparse.Namespace

    def __call__(self, joined: Team) -> float:
        device.prepare(CPU, threads=1, seed=0)
        trainer = Trainer(self.args, batch=self.args.batches[0], team=joined)
        trainer.seconds(0)
        return statistics.median(trainer.seconds(0) for _ in range(self.args.repeats))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    parser.add_argument("--method", default="mv_adapter")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256])
    for name, default in (("frames", 12), ("chunk", 8), ("repeats", 3), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path, help="to write")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
