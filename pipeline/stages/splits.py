"""Join the tables with what transcoding found, apply the policy on missing videos, and write each split."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.config.settings import Splits, read
from pipeline.core.files import whole
from pipeline.core.layout import SPLITS, recorded
from pipeline.datasets.annotations import splits
from pipeline.datasets.annotations.rows import in_split
from pipeline.stages import add_settings, guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--reports", type=Path, nargs="+", required=True, help="what transcoding found, one file a shard")
    add_settings(parser, Splits)
    parser.add_argument("--table", type=Path, required=True, help="parquet of all videos with their state, written in any case")
    parser.add_argument("--list", type=Path, required=True, help="TSV of missing videos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the splits")
    args = parser.parse_args()
    reports = pd.concat([pd.read_parquet(path) for path in args.reports], ignore_index=True)
    joined = splits.join(pd.read_parquet(args.videos), reports, name=args.dataset)
    settings = read(Splits, args.settings)
    captions = pd.read_parquet(args.captions)
    if settings.captions_as == "paragraph":
        captions = splits.paragraphs(captions)
    lost = splits.missing(joined)
    excluded = lost["status"] == "excluded"  # by a list of the user's, who knows them; they may be thousands
    for row in lost[~excluded].itertuples():
        print(f"{args.dataset}: {row.split} video {row.video_id} is {row.status}: {row.reason}")
    if excluded.any():
        print(f"{args.dataset}: videos left out by datasets.{args.dataset}.exclude: {excluded.sum()}, each of them in {args.list}")
    with whole(args.table) as part:
        joined.to_parquet(part, index=False)
    with whole(args.list) as part:
        lost.to_csv(part, sep="\t", index=False)
    splits.enforce(joined, policy=settings.missing, name=args.dataset)
    for split in SPLITS:
        videos = in_split(joined[joined["status"].isin(splits.USABLE)], split)
        for name, table in (("videos", videos), ("captions", captions[captions["video_id"].map(recorded).isin(videos["video_id"])])):
            with whole(args.out / split / f"{name}.parquet") as part:
                table.to_parquet(part, index=False)


if __name__ == "__main__":
    guarded(main)
