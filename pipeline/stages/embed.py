"""Embed the test split with a trained adapter, and measure what the method costs."""

import argparse
import json
from pathlib import Path

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import load_backbone
from pipeline.clip.folding import folds
from pipeline.config.schema import Backbone
from pipeline.config.settings import read
from pipeline.core import record
from pipeline.core.files import read_json, write_json
from pipeline.cost import measure
from pipeline.evaluation import embed, embeddings
from pipeline.inputs.split import open_split
from pipeline.runtime import device
from pipeline.stages import add_settings, guarded
from pipeline.stages.arguments import add_machine, add_split, split_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    for name in ("adapter", "record"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    add_settings(parser, Backbone)
    add_machine(parser)
    for name in ("embeddings", "cost"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="to write")
    args = parser.parse_args()
    header = checkpoint.read_header(args.adapter)
    place = device.choose(args.device)
    said = checkpoint.parts(header, args.adapter)
    settings, shape = said.train, said.shape
    device.prepare(place, threads=args.threads, seed=header["seed"], tf32=settings.tf32, deterministic=settings.deterministic)
    clip = load_backbone(read(Backbone, args.settings))
    frames, words = shape.frames.number, shape.words
    checkpoint.attach(clip, said, args.adapter)
    clip.to(place)
    clip.compute_in(device.precision(checkpoint.precision(header), place))
    files = split_files(args)
    split = open_split(files, clip=clip, shape=shape)
    made = embed.embed(clip, split, device=place, workers=args.workers, chunk=settings.chunk)
    about = {key: header[key] for key in ("dataset", "backbone", "backbone_digest", "run", "seed")} | {"precision": clip.precision}
    # No record of the training: it holds measured times, and equal adapters give equal embeddings.
    inputs = {str(path): record.sha256(path) for path in files.given().values()}
    about |= {"adapter": record.sha256(args.adapter), "inputs": json.dumps(inputs, sort_keys=True)}
    embeddings.save(args.embeddings, made, attributes=about)
    trained = read_json(args.record)
    write_json(
        args.cost,
        {
            **trained["parameters"],
            **{key: trained[key] for key in ("train_seconds", "train_videos_per_second", "train_peak_bytes")},
            **measure.macs(clip, num_frames=frames, num_words=words, device=place),
            "folds": folds(clip),
            "checkpoint_bytes": args.adapter.stat().st_size,
            "embed_videos_per_second": measure.rate(clip, num_frames=frames, device=place),
            "stores": split.stores,
            **({"sees_batch": True} if methods.sees_batch(said.method) else {}),
        },
    )


if __name__ == "__main__":
    guarded(main)
