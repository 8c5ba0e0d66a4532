"""Average the finished runs of one method over its seeds -> the metrics file that DVC compares."""

import argparse
from pathlib import Path

from pipeline.core.files import read_json, write_json
from pipeline.reporting import results
from pipeline.reporting.seed_means import evaluation, transfer
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of finished runs, one a seed")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--transfer", type=Path, nargs="*", default=[], help="what the same seeds have on other datasets, untrained")
    args = parser.parse_args()
    found = evaluation([results.load_result(folder) for folder in args.runs])
    write_json(args.metrics, found | ({"transfer": transfer([read_json(file) for file in args.transfer])} if args.transfer else {}))


if __name__ == "__main__":
    guarded(main)
