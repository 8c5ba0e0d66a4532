"""Put finished runs into benchmarks/results, checked, as records for git; or check the records that are there."""

import argparse
from pathlib import Path

from pipeline.config.params import FILE
from pipeline.core.code import shown
from pipeline.core.files import read_json, write_json
from pipeline.reporting import records
from pipeline.reporting.contribution import contribution, seeds
from pipeline.reporting.named import runs_of
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    if args.folder is None:
        print(f"{len(records.load(args.records))} records in {shown(args.records)}; each agrees with itself")
        return
    if not args.by or not args.machine:
        raise ValueError("say with --by who ran it and with --machine on what; both stand in the record")
    params = args.params or _beside(args.folder)
    said, hashes = {key: getattr(args, key) for key in ("by", "machine", "note")}, dict[Path, str]()
    for folders in seeds(runs_of(args.folder, params=params)).values():
        entry = contribution(folders, params=params, experiment=args.experiment, said=said, hashes=hashes)
        _write(entry, folder=args.records, replace=args.replace)
    print("now `make docs` for the tables, and a commit with both")


def _beside(path: Path) -> Path:
    """The params.yaml beside the folder `results`, `runs` or `metrics` that a path lies in; that of this folder where it lies in none."""
    ways = (path.absolute(), *path.absolute().parents)
    return next((Path(shown(way.parent / FILE)) for way in ways if way.name in ("results", "runs", "metrics")), FILE)


def _write(entry: records.Entry, *, folder: Path, replace: bool) -> None:
    """Put a record in its place once it has passed what every reader asks of it."""
    target = folder / records.path_of(entry)
    if target.exists() and not replace and read_json(target) != entry.content:
        raise ValueError(f"there is another {shown(target)}; name yours with --experiment, or put it in that one's place with --replace")
    records.checked(entry.content, place=records.path_of(entry), where=shown(target))
    write_json(target, entry.content)
    print(shown(target))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="results/<dataset>, or one run; without it all records are checked")
    parser.add_argument("--by", default="", help="who ran it: a name, and where you like a place")
    parser.add_argument("--machine", default="", help="what it ran on, such as '1 x H100 80 GB, 16 cores'")
    parser.add_argument("--note", default="", help="what a reader has to know besides")
    parser.add_argument("--experiment", default="", help="a word of yours, where another experiment on the dataset and backbone is there")
    parser.add_argument("--replace", action="store_true", help="take the place of records of the same name")
    parser.add_argument("--params", type=Path, help="params.yaml of the runs; default: the one beside results")
    parser.add_argument("--records", type=Path, default=records.FOLDER, help="default: benchmarks/results of this checkout")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
