"""Write the tables and pictures of README and docs/results from the records in benchmarks/results (`make docs`)."""

import argparse
from pathlib import Path

from pipeline.core.code import ROOT, shown
from pipeline.reporting import pages, records
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=records.FOLDER, help="default: benchmarks/results of this checkout")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout whose pages are written")
    args = parser.parse_args()
    for path in pages.write(pages.made(records.load(args.records), args.root)):
        print(shown(path))


if __name__ == "__main__":
    guarded(main)
