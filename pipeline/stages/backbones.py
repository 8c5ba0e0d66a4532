"""Write the table of docs/backbones.md: sizes, pictures and places of the weights that people start from (`make docs`)."""

import argparse
from pathlib import Path

from pipeline.core.files import whole
from pipeline.cost import backbones
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="to rewrite between its marks; without it the table is printed")
    args = parser.parse_args()
    if args.page is None:
        print(backbones.generated(), end="")
        return
    text = backbones.page(args.page.read_text(encoding="utf-8"))
    with whole(args.page) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    guarded(main)
