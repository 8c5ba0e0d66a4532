"""Draw the workflow from what `snakemake --rulegraph` prints, as docs/workflow.svg shows it (`make docs`)."""

import argparse
import ast
import sys
from pathlib import Path

from pipeline.core.files import whole
from pipeline.reporting.rulegraph import graph, svg
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, required=True, help="SVG to write")
    args = parser.parse_args()
    text = sys.stdin.read()
    stages = {rule: Path(__file__).with_name(f"{rule}.py") for rule in graph(text)}
    told = {rule: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "" for rule, file in stages.items() if file.is_file()}
    drawn = svg(text, meanings={rule: words.splitlines()[0] for rule, words in told.items()})
    with whole(args.picture) as part:
        part.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    guarded(main)
