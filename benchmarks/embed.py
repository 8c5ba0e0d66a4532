"""Time to embed a video under each method beside plain CLIP, in one run. `python -m benchmarks.embed`.

Random weights and pictures on the CPU, changes of weights folded in, as an evaluation or a search has them. Each round goes through all
rows, every other one backwards, and each row is held against plain CLIP of the same round: printed are the median seconds a video, and of
the ratios the median, the least and the greatest. Plain CLIP stands there twice: how far the second is from 1 is how far to trust the
rest. Nothing else should run. `zero_i2v, heads as CLIP's` is that method once its shifted heads are taken away, so that folded weights and
the positions of frames are left.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config.parse import refuse_unknown
from pipeline.core.files import write_json
from pipeline.core.formatting import markdown
from pipeline.runtime import device
from pipeline.stages import guarded

PLAIN, AGAIN, UNSHIFTED = "zero_shot", "zero_shot again", "zero_i2v, heads as CLIP's"
METHODS = ("zero_i2v", UNSHIFTED, "lora", "sherl", "mv_adapter", "vop", "dgl", "stop", "tempme", "discovla")
WORDS = 16  # of a caption; none is embedded
CPU = torch.device("cpu")


def main() -> None:
    args = _arguments()
    for name in args.methods:
        refuse_unknown(_method(name), methods.names(), what="unknown method", there="pipeline/methods/ has")
    device.prepare(CPU, threads=args.threads, seed=0)
    rows = {name: _embedder(name, args) for name in (PLAIN, *args.methods, AGAIN)}
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    with torch.inference_mode():
        for number in range(args.rounds + 1):
            for name in rows if number % 2 else reversed(rows):
                start = time.perf_counter()
                rows[name]()
                if number:  # the first warms up
                    seconds[name].append((time.perf_counter() - start) / args.videos)
    ratios = {name: [mine / plain for mine, plain in zip(taken, seconds[PLAIN], strict=True)] for name, taken in seconds.items()}
    print(_table(seconds, ratios))
    if args.json:
        about = {
            "backbone": args.backbone,
            "frames": args.frames,
            "videos": args.videos,
            "threads": args.threads,
            "torch": torch.__version__,
        }
        write_json(args.json, about | {"seconds": seconds})


def _method(row: str) -> str:
    """The method of a row, which may have words behind it."""
    return row.split(" ")[0].rstrip(",")


def _embedder(row: str, args: argparse.Namespace) -> Callable[[], object]:
    """Embeds the videos once, with the method of a row attached to a backbone of its own, and folded as far as it folds."""
    torch.manual_seed(0)
    clip = FrozenClip(build(args.backbone), name=args.backbone)
    methods.attach(clip, methods.load(_method(row), config={}), shape=methods.Shape(args.frames, WORDS)).eval()
    clip.merge()
    if row == UNSHIFTED:
        for hooks in clip.vision.hooks:
            hooks.attention.clear()
    size = clip.image_size
    frames = torch.randint(0, 256, (args.videos, args.frames, 3, size, size), dtype=torch.uint8)
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    return lambda: clip.encode_frames(frames, mask=mask)


def _table(seconds: dict[str, list[float]], ratios: dict[str, list[float]]) -> str:
    head = ["method", "seconds a video", "of plain CLIP", "least", "greatest"]
    cells = [
        [name, f"{statistics.median(seconds[name]):.3f}", *(f"{of(shares):.3f}" for of in (statistics.median, min, max))]
        for name, shares in ratios.items()
    ]
    return markdown(head, cells, right=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-16-quickgelu")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    for name, default in (("frames", 12), ("videos", 1), ("rounds", 8), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
