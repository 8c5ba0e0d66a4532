"""Sample frames from the clips of one split -> one HDF5 file."""

import argparse
from pathlib import Path

from pipeline.config.dataset import Frames
from pipeline.config.settings import read
from pipeline.core.code import fingerprint
from pipeline.inputs.frames import listed, write_frames
from pipeline.stages import add_settings, guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, help="videos.parquet of the split: those that have a clip")
    parser.add_argument("--clips", type=Path, required=True, help="folder that out_path is relative to")
    add_settings(parser, Frames)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", type=Path, required=True, help="frames.h5 to write")
    args = parser.parse_args()
    settings = read(Frames, args.settings)
    clips, recipe, digests = listed(args.videos, args.clips)
    attrs = {"dataset": args.dataset, "split": args.split, "recipe": recipe}
    write_frames(args.out, clips, settings=settings, attrs=attrs, made_from=[*digests, fingerprint("pipeline.stages.frames")])


if __name__ == "__main__":
    guarded(main)
