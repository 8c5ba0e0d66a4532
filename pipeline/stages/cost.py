"""Count parameters, dead ones, work and file size of every method and recipe on a backbone, before any training.

The backbone's weights are not needed.
"""

import argparse
from pathlib import Path

import torch

from pipeline.clip import FrozenClip, build
from pipeline.config import protocols, recipes, registry
from pipeline.config.dataset import Dataset
from pipeline.config.params import FILE, load_params
from pipeline.config.parse import parse, refuse_unknown
from pipeline.core.files import write_json
from pipeline.core.progress import track
from pipeline.cost import table
from pipeline.methods import Shape
from pipeline.runtime import device
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    device.prepare(torch.device("cpu"), threads=args.threads, seed=0)
    settings = _settings(args)
    shape = Shape(num_frames=settings.frames.number, num_words=settings.words)
    wanted = table.candidates(protocols.canonical(args.dataset), named=args.method)
    clip = FrozenClip(build(args.backbone), name=args.backbone)
    found, refused = table.rows(clip, track(wanted, total=len(wanted), label="cost"), shape=shape)
    if (args.method and refused) or not found:
        run, reason = next(iter(refused.items()))
        raise ValueError(f"{run} on {args.backbone}: {reason}")
    total = sum(p.numel() for p in clip.model.parameters())
    print(f"{args.backbone}, {total:,} parameters; {args.dataset}: {shape.num_frames} frames, {shape.num_words} words")
    print(table.to_text(found), end="")
    for run, reason in refused.items():
        print(f"not here: {run} ({reason})")
    if args.json:
        about = {"backbone": args.backbone, "dataset": args.dataset, "frames": shape.num_frames, "words": shape.num_words}
        write_json(args.json, about | {"clip_parameters": total, "rows": found, "refused": refused})


def _settings(args: argparse.Namespace) -> Dataset:
    """Frames and words of the dataset: of params.yaml, or of a benchmark; over them the command line."""
    name = protocols.canonical(args.dataset)
    own = load_params(args.params).datasets if args.params.is_file() else {}
    known = protocols.fill({"run": {"datasets": registry.datasets()}}, where="protocols")["datasets"]
    refuse_unknown(name, sorted({*own, *known}), what="unknown dataset", there="params.yaml and pipeline/config/protocols.yaml have")
    stated = {"words": own[name].words, "frames": {"number": own[name].frames.number}} if name in own else known[name]
    given = {"words": args.words, "frames": {"number": args.frames} if args.frames is not None else None}
    return parse(Dataset, recipes.merge(stated, {k: v for k, v in given.items() if v is not None}), where="frames and words")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True, help="an architecture of open_clip, such as ViT-B-32-quickgelu; or clip-tiny")
    parser.add_argument("--dataset", required=True, help="a benchmark, or a dataset of params.yaml: its frames and words, and its recipes")
    parser.add_argument("--method", nargs="+", default=[], help="methods or recipes; without it all")
    parser.add_argument("--frames", type=int, help="other frames a video than the dataset's")
    parser.add_argument("--words", type=int, help="other tokens a caption than the dataset's")
    parser.add_argument("--params", type=Path, default=FILE)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
