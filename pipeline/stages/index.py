"""Index a gallery for search, as one or several adapters see it. Run again, it brings the indexes up to date.

A gallery is the split of a dataset that the workflow has prepared, or any folder of videos. Without --adapter it is seen by plain CLIP.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from pipeline.adapters.encoder import Encoder
from pipeline.config.params import params_here
from pipeline.config.parse import stated
from pipeline.config.schema import Backbone, Params
from pipeline.core import layout
from pipeline.runtime import device
from pipeline.search import adapters, dataset
from pipeline.search.contents import below
from pipeline.search.update import Job, refuse_other_source, targets, update_dataset, update_folder
from pipeline.stages import guarded
from pipeline.stages.arguments import add_indexes


def main() -> None:
    args = _arguments()
    params = params_here()
    job = _prepare(args, params)
    if args.folder:
        update_folder(job, args.folder, _texts(args.texts))
        return
    raw = (params.datasets[args.dataset].videos if params and args.dataset in params.datasets else "") or layout.raw(args.dataset)
    found = dataset.find(args.dataset, args.split, home=job.home, raw=args.raw or raw)
    update_dataset(job, found)


def _prepare(args: argparse.Namespace, params: Params | None) -> Job:
    """Load the backbone and all adapters, so that what does not fit is refused before anything else is done."""
    indexes, gallery = args.indexes, _gallery(args)
    home = indexes.absolute().parent
    refuse_other_source(indexes, gallery, below(args.folder, home) if args.folder else f"{args.dataset}/{args.split}")
    place = device.choose(args.device)
    device.prepare(place, threads=args.threads, seed=0)
    backbone = adapters.backbone(params, args.backbone, args.weights, adapter=args.adapter and args.adapter[0])
    _make(backbone.file)
    encoder = Encoder(backbone, device=place)
    if not args.adapter:
        shape = adapters.plain_shape(params, args.dataset, encoder=encoder)
        args.adapter = [adapters.plain(indexes, gallery, encoder=encoder, shape=shape)]
    weights = Backbone.path(Path(below(backbone.file, home))) if backbone.file else backbone.weights
    words = below(Path(backbone.tokenizer), home) if backbone.tokenizer else ""
    about = {"gallery": gallery, "backbone": stated(replace(backbone, weights=weights, tokenizer=words))}
    return Job(indexes, gallery, home, encoder, about, targets(args.adapter, encoder, indexes, gallery))


def _make(weights: Path | None) -> None:
    """Let the workflow make the weights that it can make, where nothing has asked for them before."""
    if weights and not weights.is_file() and Path("Snakefile").is_file():
        command = ["snakemake", "--cores", "all", str(weights)]
        print(f"there is no {weights} yet; making it: {' '.join(command)}", file=sys.stderr, flush=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # rules call python by its name
        subprocess.run([sys.executable, "-m", *command], env=os.environ | {"PATH": path}, check=False)


def _texts(file: Path | None) -> list[str] | None:
    """One sentence a line; None if there is no file, and the index keeps what it has."""
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text; save it as such, one sentence a line") from error
    return [line.strip() for line in lines if line.strip()]


def _gallery(args: argparse.Namespace) -> str:
    """The name of the gallery. ValueError if the arguments do not say one."""
    if bool(args.dataset) == bool(args.folder):
        raise ValueError("say what to index: --dataset NAME or --folder FOLDER")
    if args.dataset:
        if args.texts:
            raise ValueError("--texts goes with --folder; a dataset has its own captions")
        return adapters.refuse_no_folder(args.name or args.dataset + ("" if args.split == "test" else f"-{args.split}"), what="the gallery")
    own = re.sub(r"[^A-Za-z0-9_.-]+", "-", args.folder.resolve().name).strip("-.") or "videos"
    return adapters.refuse_no_folder(args.name or own, what="the gallery")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="one that the workflow has prepared")
    parser.add_argument("--split", default="test", choices=layout.SPLITS, help="of the dataset (test)")
    parser.add_argument("--raw", help="folder of the dataset's video files, for their names; without it that of params.yaml")
    parser.add_argument("--folder", type=Path, help="of videos, with its subfolders")
    parser.add_argument("--name", help="of the gallery; without it the dataset's or the folder's")
    parser.add_argument("--texts", type=Path, help="sentences to find for a video of the folder, one a line")
    parser.add_argument("--adapter", type=Path, nargs="+", help="adapter.safetensors of trainings; without it plain CLIP")
    parser.add_argument("--backbone", help="name of the backbone; without it that of params.yaml")
    parser.add_argument("--weights", help="file or open_clip tag; without it that of params.yaml")
    add_indexes(parser)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
