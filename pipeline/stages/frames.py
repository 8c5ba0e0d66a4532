"""Rule frames: the sampled frames of the clips of one split, in one HDF5 file."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.params import Frames, from_json
from pipeline.stages import guarded
from pipeline.video.store import write_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, help="videos.parquet of the split: those that have a clip")
    parser.add_argument("--clips", type=Path, required=True, help="folder that out_path is relative to")
    parser.add_argument("--settings", required=True, help="Frames as JSON")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", type=Path, required=True, help="frames.h5 to write")
    args = parser.parse_args()
    settings = from_json(Frames, args.settings, where="--settings")
    table = pd.read_parquet(args.videos, columns=["video_id", "out_path", "recipe"])
    recipes = sorted(set(table["recipe"]))
    if len(recipes) > 1:
        raise ValueError(f"{args.videos}: the clips were made by {len(recipes)} recipes, {', '.join(recipes)}; re-run rule transcode")
    clips = [(video_id, args.clips / path) for video_id, path in zip(table["video_id"], table["out_path"], strict=True)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    attrs = {"dataset": args.dataset, "split": args.split, "recipe": "".join(recipes)}
    write_frames(args.out, clips, settings=settings, attrs=attrs)


if __name__ == "__main__":
    guarded(main)
