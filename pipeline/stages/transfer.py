"""Test an adapter on a dataset that it was not trained on: embeddings, ranks, metrics -> one JSON."""

import argparse
from pathlib import Path

from pipeline.adapters.embedded import embedded
from pipeline.config.settings import Transfer, read
from pipeline.core import record
from pipeline.core.files import read_json, write_json
from pipeline.evaluation.score import described
from pipeline.runtime import device
from pipeline.stages import add_settings, guarded
from pipeline.stages.arguments import add_machine, add_split, split_files


def main() -> None:
    args = _arguments()
    _refuse_seen(args.seen, tested=args.tested)
    settings, place = read(Transfer, args.settings), device.choose(args.device)
    files = split_files(args)
    done = embedded(args.adapter, files, backbone=settings.backbone, place=place, threads=args.threads, workers=args.workers)
    found = described(done.made, done.about, settings=settings.score, missing_hash=record.sha256(args.missing)[:16])
    write_json(args.metrics, found | {"tested": args.tested})


def _refuse_seen(facts: Path, *, tested: str) -> None:
    """ValueError where a video of the test set was trained or validated on."""
    found = read_json(facts)["videos"]
    if found["videos"]:
        raise ValueError(
            f"{found['videos']} of {found['of']} test videos of {tested} are among those that training has seen, {found['first'][0]!r} "
            f"first; leave them out by datasets.{tested}.exclude, for which {facts.with_suffix('.tsv')} is a list, or take {tested} "
            "out of run.transfer"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--tested", required=True, help="the dataset that the split is of")
    parser.add_argument("--missing", type=Path, required=True, help="TSV of its missing videos, whose hash is recorded")
    parser.add_argument("--seen", type=Path, required=True, help="JSON of rule seen")
    add_settings(parser, Transfer)
    add_machine(parser)
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
