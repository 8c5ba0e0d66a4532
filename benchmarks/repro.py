"""Time of `dvc repro` against `snakemake` alone: the whole default run of this checkout, in two fresh clones, one after the other.

`python -m benchmarks.repro` takes half an hour on two cores; nothing else should run. Also the bytes that each has on the disk, hard links
counted once. `--params` takes another configuration than the committed one.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pipeline.core.code import ROOT
from pipeline.core.files import write_json
from pipeline.stages import guarded

COMMANDS = {"snakemake": ["snakemake", "--cores", "all"], "dvc repro": ["dvc", "repro"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, help="another params.yaml")
    parser.add_argument("--folder", type=Path, help="where to clone to; the temporary folder without it")
    parser.add_argument("--json", type=Path, help="to write")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, command in COMMANDS.items():
            clone = Path(folder, name.replace(" ", "-"))
            subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
            if args.params:
                shutil.copyfile(args.params, clone / "params.yaml")
            seconds = _seconds(command, clone)
            found[name] = {"seconds": seconds, "bytes": _bytes(clone), "again": _seconds(command, clone)}
            print(f"{name}: {seconds:.0f} s, {found[name]['bytes'] / 2**20:.0f} MiB, again {found[name]['again']:.1f} s", flush=True)
    more = found["dvc repro"]["seconds"] / found["snakemake"]["seconds"] - 1
    print(f"dvc repro over snakemake: {more:+.1%}")
    if args.json:
        write_json(args.json, found | {"overhead": more})


def _seconds(command: list[str], folder: Path) -> float:
    start = time.monotonic()
    with Path(folder, "benchmark.log").open("a") as log:
        subprocess.run(command, cwd=folder, env=os.environ | {"DVC_NO_ANALYTICS": "1"}, stdout=log, stderr=log, check=True)
    return time.monotonic() - start


def _bytes(folder: Path) -> int:
    """On the disk, without the code and git's own files."""
    files = {}
    for name in ("data", "work", "runs", "results", "metrics", ".dvc"):
        for path in (path for path in (folder / name).rglob("*") if path.is_file() and not path.is_symlink()):
            files[path.stat().st_ino] = path.stat().st_size
    return sum(files.values())


if __name__ == "__main__":
    guarded(main)
