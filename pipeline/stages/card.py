"""Describe this copy of a dataset, as a page to read and as facts for the report."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline import clip
from pipeline.config.parse import stated
from pipeline.config.recipes import flat
from pipeline.config.settings import Card, read
from pipeline.core import record
from pipeline.core.files import read_json, whole, write_json
from pipeline.core.layout import SPLITS
from pipeline.reporting.card import facts, page
from pipeline.stages import add_settings, guarded

TABLES = ("videos.parquet", "captions.parquet")


def main() -> None:
    args = _arguments()
    videos, captions, transcoded = map(pd.read_parquet, (args.videos, args.captions, args.transcoded))
    given = read(Card, args.settings)
    settings, tokeniser = given.dataset, clip.tokenizer_of(given.backbone, given.tokenizer)
    about = read_json(args.about) | {"protocol": settings.protocol, "settings": flat(stated(settings))}
    found = facts.facts(
        args.dataset,
        facts.Tables(videos, captions, transcoded, used=_used(args.splits)),
        words=settings.words,
        longest=settings.clips.seconds or math.inf,
        count=tokeniser.lengths,
        tokeniser=tokeniser.name,
        about=about,
        missing_hash=record.sha256(args.missing)[:16],
    )
    if args.seen:
        found["seen"] = {path.stem: read_json(path) for path in args.seen}
    write_json(args.facts, found)
    with whole(args.card) as part:
        part.write_text(page.to_markdown(found), encoding="utf-8")


def _used(paths: Sequence[Path]) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """split -> videos and captions, told apart by the paths' last two parts. ValueError names the one that was not given."""
    given = {(path.parent.name, path.name): path for path in paths}
    for split in SPLITS:
        for name in TABLES:
            if (split, name) not in given:
                raise ValueError(f"--splits lacks {split}/{name}; give {' and '.join(TABLES)} of {', '.join(SPLITS)}")
    videos, captions = ({split: pd.read_parquet(given[split, name]) for split in SPLITS} for name in TABLES)
    return {split: (videos[split], captions[split]) for split in SPLITS}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--videos", type=Path, required=True, help="parquet of all videos as annotated")
    parser.add_argument("--captions", type=Path, required=True, help="parquet of all sentences as published")
    parser.add_argument("--transcoded", type=Path, required=True, help="parquet of all videos with what transcoding found")
    parser.add_argument("--missing", type=Path, required=True, help="TSV of missing videos, whose hash is recorded")
    parser.add_argument("--splits", type=Path, nargs=6, required=True, help="videos and captions of train, of val, of test: what is used")
    parser.add_argument("--seen", type=Path, nargs="*", default=[], help="JSON of rule seen, of each dataset that is tested on besides")
    parser.add_argument("--about", type=Path, required=True, help="JSON of rule annotate: what is known of the publisher")
    add_settings(parser, Card)
    parser.add_argument("--card", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--facts", type=Path, required=True, help="JSON to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
