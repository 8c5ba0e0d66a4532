"""Run the frozen bottom of one tower on the videos or the captions of one split -> one HDF5 file."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.clip import FrozenClip, load_backbone
from pipeline.config.settings import Features, Sampling, read
from pipeline.core.code import fingerprint
from pipeline.core.layout import FEATURES, RAW
from pipeline.inputs import features
from pipeline.inputs.frames import ClipStore
from pipeline.inputs.stores import refuse_pictures
from pipeline.runtime import device
from pipeline.stages import add_settings, guarded


def main() -> None:
    args = _arguments()
    place = device.choose(args.device)
    device.prepare(place, threads=args.threads, seed=0)
    settings = read(Features, args.settings)
    clip = load_backbone(settings.backbone).to(place)
    clip.compute_in(device.precision(settings.cache.precision, place))
    tower = {"vision": clip.vision, "text": clip.text}[args.tower]
    shared: dict[str, Any] = {
        "clip": clip,
        "level": tower.top + 1 if args.level == FEATURES else int(args.level),
        "dtype": settings.cache.dtype,
        "attrs": {"dataset": args.dataset, "split": args.split},
    }
    if args.tower == "vision":
        _videos(args, clip, settings.shape, shared)
    else:
        captions = pd.read_parquet(args.captions, columns=["caption_id", "text"])
        features.write_texts(
            args.out,
            captions["text"].tolist(),
            caption_ids=captions["caption_id"].tolist(),
            num_words=settings.shape.words,
            made_from=[fingerprint("pipeline.stages.features")],
            **shared,
        )


def _videos(args: argparse.Namespace, clip: FrozenClip, shape: Sampling, shared: dict[str, Any]) -> None:
    refuse_pictures(shape.frames, clip)
    source = ClipStore(args.videos, args.clips, settings=shape.frames)
    made_from = [*source.digests, fingerprint("pipeline.stages.features")]
    features.write_videos(args.out, source, workers=args.workers, made_from=made_from, **shared)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("dataset", "split", "level"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tower", required=True, choices=tuple(RAW))
    parser.add_argument("--videos", type=Path, help="videos.parquet of the split, for vision")
    parser.add_argument("--clips", type=Path, help="folder that its out_path is relative to")
    parser.add_argument("--captions", type=Path, help="captions.parquet of the split, for text")
    add_settings(parser, Features)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--out", type=Path, required=True, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
