"""Put Vega into the page of `dvc plots`, so that it needs no network. `make setup` runs this."""

import argparse
from pathlib import Path

from pipeline.core.files import whole
from pipeline.reporting import vega
from pipeline.stages import guarded


def main() -> None:
    args = _arguments()
    with whole(args.page) as part:
        part.write_text(vega.page(args.template.read_text(encoding="utf-8")), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=Path, required=True, help="the page without Vega")
    parser.add_argument("--page", type=Path, required=True, help="where the page with Vega is written; DVC's plots.html_template names it")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
