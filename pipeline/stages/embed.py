"""Embed the test split with a trained adapter, and measure what the method costs."""

import argparse
from pathlib import Path

from pipeline import methods
from pipeline.adapters.embedded import embedded
from pipeline.clip.folding import folds
from pipeline.config.schema import Backbone
from pipeline.config.settings import read
from pipeline.core.files import read_json, write_json
from pipeline.cost import measure
from pipeline.evaluation import embeddings
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
    place, backbone = device.choose(args.device), read(Backbone, args.settings)
    done = embedded(args.adapter, split_files(args), backbone=backbone, place=place, threads=args.threads, workers=args.workers)
    clip, said = done.clip, done.said
    embeddings.save(args.embeddings, done.made, attributes=done.about)
    frames, words = said.shape.frames.number, said.shape.words
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
            "stores": done.split.stores,
            **({"sees_batch": True} if methods.sees_batch(said.method) else {}),
        },
    )


if __name__ == "__main__":
    guarded(main)
