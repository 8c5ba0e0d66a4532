"""Average the finished runs of one method over its seeds -> the metrics file that DVC compares."""

import argparse
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.reporting import results
from pipeline.reporting.seed_means import evaluation
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of finished runs, one a seed")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    write_json(args.metrics, evaluation([results.load_result(folder) for folder in args.runs]))


if __name__ == "__main__":
    guarded(main)
