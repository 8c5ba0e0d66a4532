"""Copy the metrics and learning curves of the method that params.yaml selects to names that are always the same.

DVC compares a file with the same file of another revision, so this is what two experiments with different methods are compared by.
"""

import argparse
import shutil
from pathlib import Path

from pipeline.core.files import read_json, write_json
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, required=True, help="metrics of the selected method")
    parser.add_argument("--curves", type=Path, required=True, help="folder of its learning curves")
    parser.add_argument("--out-metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--out-curves", type=Path, required=True, help="folder to make")
    args = parser.parse_args()
    shutil.rmtree(args.out_curves, ignore_errors=True)
    args.out_curves.mkdir(parents=True)
    for source in sorted(args.curves.rglob("*.tsv")):
        # plots/metrics/val/RSum.tsv -> val_RSum.tsv; what was never trained has none.
        shutil.copyfile(source, args.out_curves / "_".join(source.relative_to(args.curves).parts[2:]))
    write_json(args.out_metrics, read_json(args.metrics))


if __name__ == "__main__":
    guarded(main)
