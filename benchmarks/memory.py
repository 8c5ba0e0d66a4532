"""The tables of docs/training.md: what a training step of 128 pairs takes on a device, and which settings make it fit.

`python -m benchmarks.memory --page docs/training.md` writes them there; without `--page` they are printed. Nothing is trained: the steps
are those of `python -m pipeline cost --batch 128 --memory 24GB 40GB 80GB`, on tensors without numbers, so any machine does; a row takes a
minute or more on a core.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config.schema import Train
from pipeline.core.files import rewrite
from pipeline.core.formatting import markdown, rewritten, size
from pipeline.methods import Shape
from pipeline.runtime import device
from pipeline.stages import guarded
from pipeline.training import fit

MARKS = ("<!-- memory: begin -->", "<!-- memory: end -->")
# Backbone, shape, and the pieces in which the batch is computed.
CASES = (("ViT-B-32-quickgelu", Shape(12, 32), 0), ("ViT-L-14-quickgelu", Shape(64, 64), 8))
METHODS = ("mv_adapter", "vop_fc", "aim", "lora", "full_finetune")
PRECISIONS = ("float32", "bfloat16")
MEMORIES = tuple(gigabytes * 10**9 for gigabytes in (24, 40, 80))
BATCH = 128


def main() -> None:
    args = _arguments()
    device.prepare(torch.device("cpu"), threads=1, seed=0)
    text = "\n".join(table(*case) for case in CASES)
    if args.page is None:
        print(text, end="")
        return
    rewrite(args.page, lambda page: rewritten(page, MARKS, text))


def table(backbone: str, shape: Shape, chunk: int) -> str:
    """A heading and a table in Markdown, a row for each method and precision."""
    pieces = f" in pieces of {chunk} (`chunk: {chunk}`)" if chunk else ""
    head = ["method", *fit.COLUMNS, *(f"in {size(each)}" for each in MEMORIES)]
    title = f"{backbone}, {shape.num_frames} frames, {shape.num_words} words, {BATCH} pairs{pieces}:"
    return f"{title}\n\n{markdown(head, rows(backbone, shape, chunk))}"


def rows(backbone: str, shape: Shape, chunk: int) -> Iterator[list[str]]:
    for name in METHODS:
        for precision in PRECISIONS:
            settings, method = Train(batch=BATCH, chunk=chunk, precision=precision), methods.load(name, config={})
            found = fit.row(partial(plain, backbone), method, shape=shape, settings=settings, memories=MEMORIES)
            print(f"{backbone} {name} {precision}: {found}", file=sys.stderr, flush=True)
            yield [f"`{name}`", *fit.cells(found)]


def plain(backbone: str) -> FrozenClip:
    return FrozenClip(build(backbone), name=backbone)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="to rewrite between its marks; without it the tables are printed")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
