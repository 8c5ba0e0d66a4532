"""Count parameters, dead ones, work and file size of every method and recipe on a backbone, or the memory of a training step.

Nothing is trained, and the backbone's weights are not needed. With --batch or --memory it says instead what a step of each method takes on
a device, and which settings make it fit (docs/training.md).
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config import protocols, recipes, registry
from pipeline.config.dataset import Dataset
from pipeline.config.params import FILE, load_params
from pipeline.config.parse import parse, refuse_unknown
from pipeline.config.resolve import train_of
from pipeline.config.schema import Method, Params, Train
from pipeline.core.files import write_json
from pipeline.core.formatting import aligned, size, sizes
from pipeline.core.progress import track
from pipeline.cost import table
from pipeline.methods import Shape
from pipeline.runtime import device
from pipeline.stages import guarded
from pipeline.training import fit

GIVEN = ("batch", "precision", "chunk", "checkpointing")  # keys of `train` that are options here
WHERE = "the options, or params.yaml"


def main() -> None:
    args = _arguments()
    device.prepare(torch.device("cpu"), threads=args.threads, seed=0)
    params = load_params(args.params) if args.params.is_file() else Params(methods={})
    _complete(args, params)
    settings = _settings(args, params)
    shape = Shape(num_frames=settings.frames.number, num_words=settings.words)
    about = {"backbone": args.backbone, "dataset": args.dataset, "frames": shape.num_frames, "words": shape.num_words}
    found = (_counts if args.batch is None and not args.memory else _memory)(args, params, shape)
    if args.json:
        write_json(args.json, about | found)


def _counts(args: argparse.Namespace, _: Params, shape: Shape) -> dict[str, Any]:
    """Print and return what each candidate costs."""
    wanted = table.candidates(protocols.canonical(args.dataset), named=args.method)
    bar = track(wanted, total=len(wanted), label="cost")
    make = partial(_plain, args.backbone)
    found, refused = table.unfilled(make, bar, shape=shape) if args.meta else table.rows(make(), bar, shape=shape)
    _refuse_nothing(args, found, refused)
    whole, towers = found[0]["backbone_parameters"], found[0]["tower_parameters"]
    shown = f"{args.dataset}: {shape.num_frames} frames, {shape.num_words} words"
    print(f"{args.backbone}, {whole:,} parameters, of them {towers:,} of the towers; {shown}")
    print(table.to_text(found), end="")
    _print_refused(refused)
    return {"clip_parameters": whole, "tower_parameters": towers, "rows": found, "refused": refused}


def _memory(args: argparse.Namespace, params: Params, shape: Shape) -> dict[str, Any]:
    """Print and return the memory of a step of each candidate, and how it fits."""
    memories = sizes(" ".join(args.memory), what="--memory") if args.memory else []
    wanted = table.candidates(protocols.canonical(args.dataset), named=args.method or methods.names())
    found, refused = list[fit.Row](), dict[str, str]()
    for candidate in track(wanted, total=len(wanted), label="cost"):
        try:
            for train in _trains(args, params, candidate.run):
                row = fit.row(partial(_plain, args.backbone), candidate.method, shape=shape, settings=train, memories=memories)
                found.append({"method": candidate.run, "aliases": candidate.aliases} | row)
        except ValueError as error:
            refused[candidate.run] = str(error)
    _refuse_nothing(args, found, refused)
    print(f"{args.backbone}, {args.dataset}: {shape.num_frames} frames, {shape.num_words} words, batch {found[0]['batch']}")
    lines = [[row["method"], *fit.cells(row)] for row in found]
    print(aligned([["method", *fit.COLUMNS, *(f"in {size(each)}" for each in memories)], *lines], left=1), end="")
    _print_refused(refused)
    return {"rows": found, "refused": refused}


def _plain(backbone: str) -> FrozenClip:
    return FrozenClip(build(backbone), name=backbone)


def _trains(args: argparse.Namespace, params: Params, run: str) -> Iterator[Train]:
    """The training of a run, with the options over params.yaml, in each precision that is asked for; `auto` is that of a GPU."""
    own = params.methods.get(run, Method())
    given = {key: value for key in GIVEN if (value := getattr(args, key)) is not None}
    for precision in args.precision or [None]:
        values = own.train | given | ({"precision": precision} if precision else {})
        train = train_of(replace(params, methods={run: replace(own, train=values)}), run, protocols.canonical(args.dataset), where=WHERE)
        yield replace(train, precision="bfloat16") if train.precision == "auto" else train


def _refuse_nothing(args: argparse.Namespace, found: list[Any], refused: dict[str, str]) -> None:
    """ValueError if a method that was asked for cannot be attached, or none can."""
    if (args.method and refused) or not found:
        run, reason = next(iter(refused.items()))
        raise ValueError(f"{run} on {args.backbone}: {reason}")


def _print_refused(refused: dict[str, str]) -> None:
    for run, reason in refused.items():
        print(f"not here: {run} ({reason})")


def _complete(args: argparse.Namespace, params: Params) -> None:
    """Backbone and dataset of params.yaml where none is named. ValueError where there is none either."""
    if args.params.is_file():
        args.backbone = args.backbone or params.backbone.name
        args.dataset = args.dataset or params.run.datasets[0]
    for key in ("backbone", "dataset"):
        if not getattr(args, key):
            raise ValueError(f"there is no {args.params} to take the {key} from; give --{key}")


def _settings(args: argparse.Namespace, params: Params) -> Dataset:
    """Frames and words of the dataset: of params.yaml, or of a benchmark; over them the command line."""
    name, own = protocols.canonical(args.dataset), params.datasets
    known = protocols.fill({"run": {"datasets": registry.datasets()}}, where="protocols")["datasets"]
    refuse_unknown(name, sorted({*own, *known}), what="unknown dataset", there="params.yaml and pipeline/config/protocols.yaml have")
    stated = {"words": own[name].words, "frames": {"number": own[name].frames.number}} if name in own else known[name]
    given = {"words": args.words, "frames": {"number": args.frames} if args.frames is not None else None}
    return parse(Dataset, recipes.merge(stated, {k: v for k, v in given.items() if v is not None}), where="frames and words")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", help="an architecture of open_clip, such as ViT-B-32-quickgelu; without it that of params.yaml")
    parser.add_argument(
        "--dataset", help="a benchmark, or a dataset of params.yaml: its frames, words and recipes; without it the first of params.yaml"
    )
    parser.add_argument("--method", nargs="+", default=[], help="methods or recipes; without it all, for the memory all methods")
    parser.add_argument("--frames", type=int, help="other frames a video than the dataset's")
    parser.add_argument("--words", type=int, help="other tokens a caption than the dataset's")
    parser.add_argument("--meta", action="store_true", help="count on tensors without numbers: no memory, and no dead parameters")
    parser.add_argument("--batch", type=int, help="pairs of a step, whose memory is counted; without it train.batch")
    parser.add_argument("--memory", nargs="+", help="of a device, such as 80GB or 40GiB: which settings make a step fit")
    parser.add_argument("--precision", nargs="+", help="as train.precision, auto is bfloat16; several are a row each")
    parser.add_argument("--chunk", type=int, help="as train.chunk")
    parser.add_argument("--checkpointing", action="store_true", default=None, help="as train.checkpointing")
    parser.add_argument("--params", type=Path, default=FILE)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
