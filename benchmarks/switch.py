"""Many adapters on one backbone: time of a switch, memory, and what the block loop costs beside plain open_clip.

`python -m benchmarks.switch` takes minutes and about 1 GB of disk: ViT-B/32 with random weights, 12 frames, float32, adapters with the
values that they start with. Each measurement runs in a process of its own. A switch is timed over all ordered pairs of adapters; memory
is what the process has resident with n adapters of `--method`, less what it has with none; throughput alternates the encoder with
zero_shot and open_clip's own `encode_image` on the same frames, and gives the median of the ratios. Nothing else should run.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import save_file

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.clip import FrozenClip, build, load_backbone
from pipeline.config.dataset import Clips
from pipeline.config.schema import Backbone, Train
from pipeline.core.files import write_json
from pipeline.runtime import device
from pipeline.stages import guarded

METHODS = ("zero_shot", "vop", "mv_adapter", "lora", "bias", "full_finetune")
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--method", default="mv_adapter", help="of which memory is measured")
    parser.add_argument("--adapters", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--videos", type=int, default=4, help="encoded at once")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="to write")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        device.prepare(CPU, threads=args.threads, seed=0)
        print(json.dumps(PARTS[args.part.split(":")[0]](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        _write(args)
        found = {"switch": _own(args, "switch"), "throughput": _own(args, "throughput")}
        found["memory"] = {str(number): _own(args, f"memory:{number}") for number in (0, *args.adapters)}
    print("| switch to | median ms | longest ms |\n|---|---:|---:|")
    for name, times in found["switch"].items():
        print(f"| `{name}` | {1e3 * statistics.median(times):.2f} | {1e3 * max(times):.2f} |")
    empty = found["memory"].pop("0")
    print(f"\n| adapters | resident MB | MB an adapter |\n|---:|---:|---:|\n| 0 | {empty / 1e6:.0f} | |")
    for number, size in found["memory"].items():
        print(f"| {number} | {size / 1e6:.0f} | {(size - empty) / int(number) / 1e6:.1f} |")
    ratios = found["throughput"]["ratios"]
    print(f"\nzero_shot encodes {found['throughput']['videos_per_second']:.2f} videos a second on {args.threads} threads,", end=" ")
    print(f"{statistics.median(ratios):.3f} of open_clip's own ({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)")
    if args.json:
        write_json(args.json, found | {"empty": empty, "torch": torch.__version__})


def _write(args: argparse.Namespace) -> None:
    """The backbone and an adapter of each method."""
    torch.manual_seed(0)
    model = build(args.backbone)
    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, args.folder / "weights.safetensors")
    clip = FrozenClip(model, name=args.backbone)
    shape = {"frames": {"number": args.frames, "size": clip.image_size, "grid": "centres"}, "words": 32, "clips": asdict(Clips())}
    about = {"shape": shape, "train": asdict(Train()), "backbone": clip.name, "backbone_digest": clip.digest}
    for name in {*args.methods, args.method, "zero_shot"}:
        method = methods.load(name, config={})
        methods.attach(clip, method, shape=methods.Shape(args.frames, 32))
        tensors = {key: value.data for key, value in clip.trained().items()}
        checkpoint.save(args.folder / f"{name}.safetensors", tensors, header=about | {"run": name, "config": dict(vars(method))})
        clip.detach_all()


def _own(args: argparse.Namespace, part: str) -> Any:
    """The result of a part, run in a process of its own."""
    words = ["--backbone", args.backbone, "--methods", *args.methods, "--method", args.method, "--part", part, "--folder", str(args.folder)]
    for key in ("frames", "videos", "rounds", "threads"):
        words += [f"--{key}", str(getattr(args, key))]
    done = subprocess.run([sys.executable, "-m", "benchmarks.switch", *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _encoder(args: argparse.Namespace) -> Encoder:
    return Encoder(Backbone(args.backbone, str(args.folder / "weights.safetensors")), device=CPU)


def switch(args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each switch to each method, from all the others in turn."""
    encoder = _encoder(args)
    for name in args.methods:
        encoder.add(name, args.folder / f"{name}.safetensors")
    times: dict[str, list[float]] = {name: [] for name in args.methods}
    for _ in range(args.rounds):
        for before, after in itertools.permutations(args.methods, 2):
            encoder.use(before)
            start = time.perf_counter()
            encoder.use(after)
            times[after].append(time.perf_counter() - start)
    return times


def memory(args: argparse.Namespace) -> int:
    """Resident bytes with so many adapters, each of which has been in place and has encoded a text."""
    encoder = _encoder(args)
    encoder.add("zero_shot", args.folder / "zero_shot.safetensors")
    encoder.texts("zero_shot", ["a red star"])
    for number in range(int(args.part.split(":")[1])):
        encoder.add(str(number), args.folder / f"{args.method}.safetensors")
        encoder.texts(str(number), ["a red star"])
    return int(psutil.Process().memory_info().rss)


@torch.no_grad()
def throughput(args: argparse.Namespace) -> dict[str, Any]:
    """Videos a second of zero_shot, and its rate as a share of that of plain open_clip, round by round."""
    encoder = _encoder(args)
    encoder.add("zero_shot", args.folder / "zero_shot.safetensors")
    plain = load_backbone(Backbone(args.backbone, str(args.folder / "weights.safetensors")))
    size = plain.image_size
    frames = torch.randint(0, 256, (args.videos, args.frames, 3, size, size), dtype=torch.uint8)
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)

    def ours() -> None:
        encoder.videos("zero_shot", frames, mask)

    def theirs() -> None:
        torch.backends.mha.set_fastpath_enabled(True)  # as it comes
        pictures = (frames.flatten(0, 1).float() / 255 - plain.mean) / plain.std
        plain.model.encode_image(pictures, normalize=True).unflatten(0, mask.shape).mean(dim=1)

    rounds = []
    for number in range(args.rounds + 1):  # the first warms up
        pair = [(_seconds(run), run) for run in ((ours, theirs) if number % 2 else (theirs, ours))]
        rounds.append({run.__name__: seconds for seconds, run in pair})
    ratios = [times["theirs"] / times["ours"] for times in rounds[1:]]
    return {"videos_per_second": args.videos / statistics.median(times["ours"] for times in rounds[1:]), "ratios": ratios}


def _seconds(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


PARTS = {"switch": switch, "memory": memory, "throughput": throughput}


if __name__ == "__main__":
    guarded(main)
