"""Fill data/<dataset>/raw/ with what the publisher gave; the embedded dataset is rendered."""

import argparse
import os
import shutil
from pathlib import Path

from pipeline import datasets
from pipeline.config.schema import Dataset, Motion, Params, from_json
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--settings", required=True, help="params.yaml: datasets.<name>, as JSON")
    parser.add_argument("--motion", required=True, help="params.yaml: motion, as JSON")
    parser.add_argument("--raw", type=Path, required=True, help="folder to make")
    args = parser.parse_args()
    settings = from_json(Dataset, args.settings, where=f"datasets.{args.dataset}")
    params = Params(motion=from_json(Motion, args.motion, where="motion"), datasets={args.dataset: settings})
    part = args.raw.with_name(f".{args.raw.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    datasets.load(args.dataset, settings).download(part, params, args.dataset)
    shutil.rmtree(args.raw, ignore_errors=True)
    os.replace(part, args.raw)


if __name__ == "__main__":
    guarded(main)
