"""Write the table of docs/backbones.md: sizes, pictures and places of the weights that people start from (`make docs`)."""

import argparse
from pathlib import Path

from pipeline.core.files import rewrite
from pipeline.cost import backbones
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="to rewrite between its marks; without it the table is printed")
    args = parser.parse_args()
    if args.page is None:
        print(backbones.generated(), end="")
        return
    rewrite(args.page, backbones.page)


if __name__ == "__main__":
    guarded(main)
