"""Search the indexes: videos for a sentence, videos like a video, texts for a video."""

import argparse
import json

from pipeline.config.params import params_here
from pipeline.runtime import device
from pipeline.search import answers, terminal
from pipeline.search.index import discover
from pipeline.search.open_indexes import MAKE
from pipeline.search.session import Session
from pipeline.stages import guarded
from pipeline.stages.arguments import add_indexes


def main() -> None:
    args = _arguments()
    asked = {"text": args.query, "like": args.like, "captions_of": args.captions_of}
    if sum(value is not None for value in asked.values()) != 1:
        raise ValueError('say one thing to search for: "a sentence", --like VIDEO, or --captions-of VIDEO')
    if args.k < 1:
        raise ValueError(f"-k is {args.k}; the least is 1")
    there = list(discover(args.indexes))
    if not there:
        raise ValueError(f"there is no index below {args.indexes}; make one: {MAKE}")
    params = params_here()
    method = params.method if params else ""
    names = answers.choose(there, wanted=args.index, gallery=args.gallery, method=method)
    if len({name.split("/")[0] for name in names}) > 1:
        raise ValueError(f"side by side are indexes of one gallery, not {' and '.join(names)}; search one after the other")
    device.prepare(device.choose(args.device), threads=args.threads, seed=0)
    session = Session(args.indexes, names=names, place=args.device)
    if args.captions_of is not None:
        found = answers.texts(session, names, args.captions_of, args.k)
    else:
        found = answers.videos(session, names, args.query, args.like, args.k)
    if args.json:
        print(
            json.dumps({"query": {key: value for key, value in asked.items() if value is not None}, "indexes": [a.json() for a in found]})
        )
    else:
        print(terminal.rendered(found), end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("query", nargs="?", help="a sentence")
    parser.add_argument("--like", metavar="VIDEO", help="of the gallery, by its id or path, or any video file")
    parser.add_argument("--captions-of", metavar="VIDEO", help="the same")
    parser.add_argument(
        "--index", nargs="+", default=[], metavar="NAME", help="gallery/backbone/run/seed, or the run alone; several stand side by side"
    )
    parser.add_argument("--gallery", help="where there are several")
    parser.add_argument("-k", type=int, default=10, help="how many (10)")
    parser.add_argument("--json", action="store_true", help="for programs (docs/search.md)")
    add_indexes(parser)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
