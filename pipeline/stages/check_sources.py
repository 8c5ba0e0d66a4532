"""Ask every address of the datasets for its head, and print what is gone; the exit status is 1 where something is."""

import argparse
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

from pipeline import datasets
from pipeline.config.parse import refuse_unknown
from pipeline.datasets.annotations.sources import Source
from pipeline.datasets.fetch.head import CLOSED, GONE, SILENT, Answer, head
from pipeline.stages import guarded

AT_ONCE = 8
NO_FILE = Answer("not asked", "videos come from pages of their own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", help="names of datasets; without one, all")
    parser.add_argument("--quiet", action="store_true", help="print only what is gone or silent, as a scheduled job wants it")
    args = parser.parse_args()
    for name in args.datasets:
        refuse_unknown(name, datasets.names(), what="unknown dataset", there="pipeline/datasets/ has")
    asked = [(name, source) for name in args.datasets or datasets.names() for source in _sources(name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda pair: head(pair[1].url) if pair[1].file else NO_FILE, asked))
    wrong = 0
    for (name, source), answer in zip(asked, answers, strict=True):
        bad = answer.state in (GONE, SILENT) or (answer.state == CLOSED and not source.gated)
        wrong += bad
        if bad or not args.quiet:
            print(f"{answer.state:16}  {name} {source.name}: {source.url}{answer.reason and f' ({answer.reason})'}")
    if wrong:
        print(f"{wrong} of {len(asked)} addresses do not answer as they should; see docs/datasets.md on mirrors and folders of your own")
        sys.exit(1)


def _sources(name: str) -> tuple[Source, ...]:
    """The addresses of a dataset; the embedded one has none."""
    return tuple(getattr(importlib.import_module(f"{datasets.__name__}.{name}"), "SOURCES", ()))


if __name__ == "__main__":
    guarded(main)
