"""Write the table of docs/methods.md: what each method attaches, where it starts, what it sees (`make docs`)."""

import argparse
from pathlib import Path

from pipeline.core.files import rewrite
from pipeline.cost import traits
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    if args.page is None:
        print(traits.generated(), end="")
        return
    rewrite(args.page, traits.page)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="to rewrite between its marks; without it the table is printed")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
