"""Score embeddings: ranks, metrics and their intervals -> metrics.json."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Score
from pipeline.config.settings import read
from pipeline.core import record
from pipeline.core.files import write_json
from pipeline.evaluation import embeddings, galleries, small
from pipeline.evaluation.score import described
from pipeline.stages import add_settings, guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--missing", type=Path, required=True, help="TSV of missing videos, whose hash is recorded")
    add_settings(parser, Score)
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    made, about = embeddings.load(args.embeddings)
    settings = read(Score, args.settings)
    found = described(made, about, settings=settings, missing_hash=record.sha256(args.missing)[:16])
    found |= {"embeddings": record.sha256(args.embeddings)}
    if settings.galleries:
        lost = pd.read_csv(args.missing, sep="\t", dtype=str)["video_id"]
        found["galleries"] = galleries.blocks(made, settings=settings, missing=set(lost))
    write_json(args.metrics, found)
    if told := small.warning(int(found["gallery"])):
        print(told)


if __name__ == "__main__":
    guarded(main)
