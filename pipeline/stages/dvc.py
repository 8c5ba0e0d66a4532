"""Let DVC and Snakemake share a folder: run waiting stages at once, take over results, write `deps` of dvc.yaml.

The stages are DVC's; the results are those that the other tool has made.
"""

import argparse
import os

from pipeline.rules.dvc import adopt, record, run_ahead, write_deps
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    ahead = kinds.add_parser("ahead", help="run a stage's command, and with it what `dvc repro` would run of its group later")
    ahead.add_argument("command", nargs=argparse.REMAINDER, help="snakemake ... -- target")
    kinds.add_parser("record", help="after `snakemake`: DVC takes over what it made")
    kinds.add_parser("adopt", help="after `dvc pull` or `dvc checkout`: Snakemake takes over what came")
    kinds.add_parser("deps", help="write the code that each stage hangs on into dvc.yaml")
    args = parser.parse_args()
    if args.kind == "ahead":
        raise SystemExit(run_ahead(args.command, stage=os.environ.get("DVC_STAGE", "")))
    {"record": record, "adopt": adopt, "deps": write_deps}[args.kind]()


if __name__ == "__main__":
    guarded(main)
