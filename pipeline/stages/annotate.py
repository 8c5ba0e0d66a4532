"""Read the publisher's annotations into the one table of videos and the one of captions."""

import argparse
from pathlib import Path

from pipeline import datasets
from pipeline.files import whole
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True, help="parquet to write")
    parser.add_argument("--captions", type=Path, required=True, help="parquet to write")
    args = parser.parse_args()
    videos, captions = datasets.load(args.dataset).tables(args.raw)
    datasets.check(videos, captions, name=args.dataset)
    for table, target in ((videos, args.videos), (captions, args.captions)):
        with whole(target) as part:
            table.to_parquet(part, index=False)
    print(f"{args.dataset}: {len(videos)} videos, {len(captions)} captions")


if __name__ == "__main__":
    guarded(main)
