"""Read the publisher's annotations into one table of videos and one of captions, and find each video's file."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import datasets
from pipeline.config.settings import Annotate, read
from pipeline.core.files import read_json, whole, write_json
from pipeline.datasets.annotations import rows
from pipeline.datasets.annotations.matching import match
from pipeline.datasets.annotations.splits import exclude
from pipeline.stages import add_settings, guarded

VALIDATION = {
    "clean": "The validation videos are held out of training.",
    "paper": "The validation videos are trained on as well where papers do so, and nothing is chosen on them.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    add_settings(parser, Annotate)
    parser.add_argument("--raw", type=Path, required=True, help="folder that download made")
    parser.add_argument("--root", type=Path, required=True, help="folder of video files that src_path is relative to")
    parser.add_argument("--videos", type=Path, required=True, help="parquet to write")
    parser.add_argument("--captions", type=Path, required=True, help="parquet to write")
    parser.add_argument("--about", type=Path, required=True, help="JSON for the dataset's card to write")
    args = parser.parse_args()
    settings = read(Annotate, args.settings)
    source = datasets.load(args.dataset, settings)
    videos, captions = source.tables(Path(settings.annotations or args.raw), settings, args.dataset)
    videos = _with_files(videos, args, source, settings)
    if settings.exclude:
        videos = exclude(videos, Path(settings.exclude), name=args.dataset)
    datasets.check(videos, captions, name=args.dataset)
    expected = source.expected(settings)
    different = rows.refuse_other_counts(args.dataset, videos, captions, expected=expected, strict=settings.counts == "assert")
    for table, target in ((videos, args.videos), (captions, args.captions)):
        with whole(target) as part:
            table.to_parquet(part, index=False)
    write_json(args.about, _about(args, source, settings, expected, different))
    print(f"{args.dataset}: {len(videos)} videos, {len(captions)} captions", *different, sep="\n")


def _with_files(videos: pd.DataFrame, args: argparse.Namespace, source: datasets.Dataset, settings: Annotate) -> pd.DataFrame:
    """With the path of each video's file, where the tables do not have it already."""
    folder = args.root if settings.videos else args.root / "videos"
    if (videos["src_path"] != "").any():
        return videos
    if settings.videos and not folder.is_dir():
        raise ValueError(f"datasets.{args.dataset}.videos: there is no folder {settings.videos!r}")
    return match(videos, folder, root=args.root, file_key=source.file_key, name=args.dataset) if folder.is_dir() else videos


def _about(
    args: argparse.Namespace,
    source: datasets.Dataset,
    settings: Annotate,
    expected: Mapping[str, tuple[int | None, int | None]],
    different: list[str],
) -> dict[str, Any]:
    """Facts for the card that are in none of the tables."""
    known = asdict(about) if (about := getattr(source, "ABOUT", None)) else {"title": args.dataset, "deviations": []}
    listed = args.raw / "sources.json"
    return known | {
        "deviations": [*known["deviations"], *([VALIDATION[settings.validation]] if expected else []), *different],
        "sources": read_json(listed) if listed.is_file() else [],
        "expected": {split: list(numbers) for split, numbers in expected.items()},
    }


if __name__ == "__main__":
    guarded(main)
