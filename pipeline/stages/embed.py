"""Embed the test split with a trained adapter, and measure what the method costs."""

import argparse
import json
from pathlib import Path

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import load_backbone
from pipeline.config.parse import parse
from pipeline.config.schema import Backbone, Train
from pipeline.config.settings import Sampling, read
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
    settings = parse(Train, header["train"], where=str(args.adapter))
    device.prepare(place, threads=args.threads, seed=header["seed"], tf32=settings.tf32, deterministic=settings.deterministic)
    backbone, shape = read(Backbone, args.settings), parse(Sampling, header["shape"], where=str(args.adapter))
    clip = load_backbone(backbone)
    frames, words = shape.frames.number, shape.words
    methods.attach(clip, methods.load(header["run"], config=header["config"]), shape=methods.Shape(frames, words))
    checkpoint.load_into(clip, args.adapter)
    clip.to(place)
    clip.compute_in(checkpoint.precision(header))
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
            "checkpoint_bytes": args.adapter.stat().st_size,
            "embed_videos_per_second": measure.rate(clip, num_frames=frames, device=place),
            "stores": split.stores,
        },
    )


if __name__ == "__main__":
    guarded(main)
