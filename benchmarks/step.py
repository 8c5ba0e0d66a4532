"""Time and memory of one training step, method by method, beside full fine-tuning in the same run: `make bench`.

Random weights, random pictures, the pieces of training/loop.py. A method runs in a process of its own, so that its peak is its own: one
step to warm up, in which the optimiser makes its state and memory is counted, `--steps` timed ones, and one to count products. Full
fine-tuning comes first and again last: how far the two are apart is how far to trust the rest. With the defaults a method takes
minutes on a CPU; nothing else should run. Peak memory is the allocator's on CUDA and the whole process's, Python included, on a CPU.
The share of the products is how fast the step's products (without those of attention) would be alone, of its time: at 1.0 nothing but
fewer of them would make it faster. Their rate is measured in the same process (`benchmarks.gemm`).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gemm
from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.clip.model import TYPES
from pipeline.config.parse import refuse_unknown
from pipeline.config.schema import Train
from pipeline.core.files import write_json
from pipeline.cost import measure as cost
from pipeline.evaluation.similarity import scores
from pipeline.runtime import device
from pipeline.stages import guarded
from pipeline.training import optim
from pipeline.training.loss import contrastive

ANCHOR = "full_finetune"
SETTINGS = ("backbone", "batch", "frames", "words", "steps", "threads", "precision")
COLUMNS = ("method", "seconds a step", "of full", "peak GB", "of full", "counted GB", "of full", "products")


def main() -> None:
    args = _arguments()
    if args.one:
        print(json.dumps(measure(args, args.one)))
        return
    wanted = args.methods or methods.names()
    for name in wanted:
        refuse_unknown(name, methods.names(), what="unknown method", there="pipeline/methods/ has")
    print("  ".join(title.rjust(14) if place else title.ljust(24) for place, title in enumerate(COLUMNS)), flush=True)
    rows: list[dict[str, Any]] = []
    for name in [ANCHOR, *(name for name in wanted if name != ANCHOR), ANCHOR]:
        row = {"method": name, **_in_own_process(args, name)}
        if row["trainable"]:  # zero-shot has no step
            rows.append(row)
            print(_line(row, rows[0]), flush=True)
    if args.json:
        settings = {key: getattr(args, key) for key in SETTINGS}
        about = {"device": str(device.choose(args.device)), "torch": torch.__version__}
        write_json(args.json, {**settings, **about, "rows": rows})


def measure(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Seconds of each timed step, peak bytes and counted bytes of one method, in this process."""
    place = device.choose(args.device)
    device.prepare(place, threads=args.threads, seed=0)
    clip = FrozenClip(build(args.backbone), name=args.backbone)
    methods.attach(clip, methods.load(name, config={}), shape=methods.Shape(args.frames, args.words))
    clip.to(place).train()
    clip.compute_in(device.precision(args.precision, place))
    trained = clip.trained()
    if not trained:
        return {"trainable": 0}
    optimiser = optim.build(trained, train=Train())
    batch = _batch(args, clip, place)
    with cost.measure_step(clip, optimiser, device=place, wanted=True) as used:
        _timed(clip, optimiser, batch, place)
    seconds = [_timed(clip, optimiser, batch, place) for _ in range(args.steps)]
    frozen = [key for key, p in clip.named_parameters() if not p.requires_grad and p.grad is not None]
    assert not frozen, f"{name}: frozen tensors have gradients: {frozen[:3]}"
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # bytes, or KiB
    peak = torch.cuda.max_memory_allocated(place) if place.type == "cuda" else resident
    # A step of its own, and the last: while products are counted, tensors live longer.
    with FlopCounterMode(display=False) as products:  # type: ignore[no-untyped-call]
        _timed(clip, optimiser, batch, place)
    return {
        "trainable": sum(p.numel() for p in trained.values()),
        "seconds": seconds,
        "peak_bytes": peak,
        "counted_bytes": used.bytes,
        "products": products.get_total_flops(),
        "products_a_second": gemm.rate(place, TYPES[clip.precision]),
    }


def _batch(args: argparse.Namespace, clip: FrozenClip, place: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames (B, T, 3, H, W), their mask (B, T) and token ids (B, words)."""
    frames = torch.randint(0, 256, (args.batch, args.frames, 3, clip.image_size, clip.image_size), dtype=torch.uint8)
    ids = clip.tokenize([f"video number {row}" for row in range(args.batch)], num_words=args.words)
    return frames.to(place), torch.ones(args.batch, args.frames, dtype=torch.bool, device=place), ids.to(place)


def _timed(clip: FrozenClip, optimiser: torch.optim.Optimizer, batch: tuple[torch.Tensor, ...], place: torch.device) -> float:
    cost.wait(place)
    start = time.perf_counter()
    _backward(clip, optimiser, batch)
    optim.clip_gradients(clip.trained().values(), Train().clip_norm)
    optimiser.step()
    clip.limit_logit_scale()
    cost.wait(place)
    return time.perf_counter() - start


def _backward(clip: FrozenClip, optimiser: torch.optim.Optimizer, batch: tuple[torch.Tensor, ...]) -> None:
    frames, mask, ids = batch
    features, texts = clip.encode_frames(frames, mask=mask), clip.encode_text(ids)
    loss = contrastive(
        scores(texts, features, mask=mask, temperature=clip.query_temperature, weigh=clip.frame_weights), scale=clip.logit_scale
    )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()


def _in_own_process(args: argparse.Namespace, name: str) -> dict[str, Any]:
    options = [f"--{key}={getattr(args, key)}" for key in (*SETTINGS, "device")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.step", "--one", name, *options], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"{name} failed; its message stands above")
    return dict(json.loads(done.stdout))


def _line(row: dict[str, Any], anchor: dict[str, Any]) -> str:
    cells = [row["method"].ljust(24)]
    for key, unit in (("seconds", 1), ("peak_bytes", 1e9), ("counted_bytes", 1e9)):
        value, whole = (statistics.median(r[key]) if key == "seconds" else r[key] for r in (row, anchor))
        cells += [f"{value / unit:14.3f}", f"{value / whole:14.3f}"]
    cells.append(f"{row['products'] / row['products_a_second'] / statistics.median(row['seconds']):14.3f}")
    return "  ".join(cells)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    parser.add_argument("--methods", nargs="+", default=[], help="without it all")
    for name, default in (("batch", 8), ("frames", 12), ("words", 32), ("steps", 2), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", default="float32", choices=["auto", *TYPES])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
