"""Fill data/<dataset>/raw/ with what the publisher gave; the embedded dataset is rendered."""

import argparse
import os
import shutil
from pathlib import Path

from pipeline import datasets
from pipeline.config.settings import Download, read
from pipeline.stages import add_settings, guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    add_settings(parser, Download)
    parser.add_argument("--raw", type=Path, required=True, help="folder to make")
    args = parser.parse_args()
    settings = read(Download, args.settings)
    part = args.raw.with_name(f".{args.raw.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    datasets.load(args.dataset, settings).download(part, settings, args.dataset)
    shutil.rmtree(args.raw, ignore_errors=True)
    os.replace(part, args.raw)


if __name__ == "__main__":
    guarded(main)
