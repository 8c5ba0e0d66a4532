"""Run an adapter on video tasks of mteb, the code of a public leaderboard (MVEB), and print what its numbers are."""

import argparse
from pathlib import Path

from pipeline.adapters import checkpoint, leaderboard
from pipeline.adapters.loaded import backbone_of
from pipeline.core.files import whole
from pipeline.core.record import sha256
from pipeline.runtime import device
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path, help="adapter.safetensors")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of mteb's, such as MSRVTTT2V, fetched from the Hugging Face hub")
    parser.add_argument("--weights", help="of the backbone, where no params.yaml beside runs/ names them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="Markdown to write")
    args = parser.parse_args()
    mteb = leaderboard.module()
    backbone = backbone_of(args.adapter, checkpoint.read_header(args.adapter), args.weights)
    model = leaderboard.Model(args.adapter, backbone=backbone, device=device.choose(args.device))
    known = [task.metadata.name for task in mteb.get_tasks(modalities=["video"])]
    leaderboard.describe(model, sha256=sha256(args.adapter), tasks=known)
    text = leaderboard.run(model, mteb.get_tasks(tasks=args.tasks))
    if args.out:
        with whole(args.out) as part:
            part.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    guarded(main)
