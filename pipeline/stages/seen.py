"""Count what training has seen of another dataset's test set, and list the videos that cannot be tested."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.files import whole, write_json
from pipeline.reporting.card import seen
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, nargs="+", required=True, help="videos.parquet and captions.parquet of train and val")
    parser.add_argument("--tested", type=Path, nargs=2, required=True, help="videos.parquet and captions.parquet of the other test split")
    parser.add_argument("--dataset", required=True, help="that was trained on")
    parser.add_argument("--facts", type=Path, required=True, help="JSON to write")
    parser.add_argument("--exclude", type=Path, required=True, help="TSV to write, as datasets.<name>.exclude takes it")
    args = parser.parse_args()
    trained, tested = _tables(args.trained), _tables(args.tested)
    write_json(args.facts, seen.seen(trained, tested))
    same = seen.known(trained[0], tested[0]).same
    listed = pd.DataFrame({"video_id": same, "reason": f"{args.dataset} trains or validates on it"})
    with whole(args.exclude) as part:
        listed.to_csv(part, sep="\t", index=False)


def _tables(paths: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Videos and captions of all splits given; what is in two of them once."""
    videos, captions = (
        pd.concat([pd.read_parquet(path) for path in paths if path.name == f"{name}.parquet"], ignore_index=True)
        for name in ("videos", "captions")
    )
    return videos.drop_duplicates("video_id"), captions.drop_duplicates("caption_id")


if __name__ == "__main__":
    guarded(main)
