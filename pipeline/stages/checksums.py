"""Pin the downloaded raw files: a line of SHA-256 and name for each, which `sha256sum --check` reads as well."""

import argparse
from pathlib import Path

from pipeline.core.contents import below, hashes
from pipeline.core.files import whole
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder that download made")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checksums", type=Path, required=True, help="text to write")
    args = parser.parse_args()
    files = below(args.raw)
    sums = hashes(files, threads=args.threads)
    with whole(args.checksums) as part:
        part.write_text("".join(f"{total}  {path.as_posix()}\n" for total, path in zip(sums, files, strict=True)), encoding="utf-8")


if __name__ == "__main__":
    guarded(main)
