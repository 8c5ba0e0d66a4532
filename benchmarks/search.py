"""Latency of one query, exact and approximate, with what the approximate search finds of the 10 best, its build time and memory.

`python -m benchmarks.search` takes about half an hour on two cores and 6 GB of memory: 670, 10,000 and 1,000,000 unit vectors of 512
numbers, random ones, which have no neighbourhoods, and clustered ones, which videos of one subject are. Queries are random, or near a
vector of the gallery as a caption is near its video. Each gallery is searched in a process of its own, with one thread. A query is timed
from its vector to the sorted hits; encoding the sentence is not in it. Nothing else should run.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from pipeline.core.files import write_json
from pipeline.search import nearest
from pipeline.search.nearest import Approximate
from pipeline.stages import guarded

BLOCK = 50_000  # vectors that are drawn at once
PER_CLUSTER = 200  # vectors, on average; clusters have the sizes of a power law
INSIDE, ASKED = 1.0, 1.5  # length of the noise on a centre, and on the vector that a query is near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[670, 10_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["random", "clustered"], choices=("random", "clustered"))
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        kind, number = args.part.split(":")
        print(json.dumps(measure(kind, int(number), args)))
        return
    found = [_own(kind, number, args) for number in args.videos for kind in args.kinds]
    print("| vectors | kind | exact ms | approximate ms | recall@10 | lists probed | build s | index MB | resident MB |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in found:
        probed = f"{row['probed']} of {row['lists']}" if row["probed"] else "exact is kept"
        cells = [f"{row['videos']:,}", row["kind"], f"{row['exact_ms']:.2f}", f"{row['approximate_ms']:.2f}", f"{row['recall_at_10']:.3f}"]
        sizes = [f"{row['build_seconds']:.1f}", f"{row['index_mb']:.0f}", f"{row['resident_mb']:.0f}"]
        print("| " + " | ".join([*cells, probed, *sizes]) + " |")
    if args.out:
        write_json(args.out, {"rows": found, "faiss": faiss.__version__, "numpy": np.__version__, "arguments": vars(args) | {"out": None}})


def _own(kind: str, number: int, args: argparse.Namespace) -> Any:
    words = ["--part", f"{kind}:{number}"]
    for key in ("width", "queries", "build_threads"):
        words += [f"--{key.replace('_', '-')}", str(getattr(args, key))]
    done = subprocess.run([sys.executable, "-m", "benchmarks.search", *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(kind: str, number: int, args: argparse.Namespace) -> dict[str, Any]:
    """One gallery: times in ms are medians over the queries."""
    generator = np.random.default_rng(0)
    vectors = drawn(kind, number, args.width, generator)
    asked = _unit(vectors[generator.integers(0, number, 2 * args.queries)] + ASKED * _noise(2 * args.queries, args.width, generator))
    queries = asked if kind == "clustered" else _noise(2 * args.queries, args.width, generator)
    exact = _milliseconds(lambda query: nearest.best(nearest.products(vectors, query), 10), queries[: args.queries])
    torch.set_num_threads(args.build_threads)
    start = time.perf_counter()
    made = Approximate.build(vectors, queries[args.queries :], queries_from="captions")
    built = time.perf_counter() - start
    approximate = made.settings["kind"] == "approximate"
    if not approximate:  # what would have been
        made = Approximate(made.index, {"probed": made.index.nlist})
    seen = queries[: args.queries]
    times = _milliseconds(lambda query: made.nearest(vectors, query, -1), seen)
    recall = [len({*made.nearest(vectors, q, -1)} & {*nearest.best(nearest.products(vectors, q), 10).tolist()}) / 10 for q in seen]
    return {
        "kind": kind,
        "videos": number,
        "exact_ms": exact,
        "approximate_ms": times,
        "recall_at_10": statistics.mean(recall),
        "probed": made.settings["probed"] if approximate else 0,
        "lists": made.index.nlist,
        "build_seconds": built,
        "index_mb": len(made.content()) / 1e6,
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def drawn(kind: str, number: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """(V, E) unit vectors."""
    clusters = max(number // PER_CLUSTER, 1)
    centres, weight = _noise(clusters, width, generator), np.arange(1, clusters + 1) ** -0.7
    vectors = np.empty((number, width), np.float32)
    for start in range(0, number, BLOCK):
        part = vectors[start : start + BLOCK]
        part[:] = _noise(len(part), width, generator)
        if kind == "clustered":
            part[:] = _unit(centres[generator.choice(clusters, len(part), p=weight / weight.sum())] + INSIDE * part)
    return vectors


def _noise(number: int, width: int, generator: np.random.Generator) -> np.ndarray:
    return _unit(generator.standard_normal((number, width), dtype=np.float32))


def _unit(values: np.ndarray) -> np.ndarray:
    unit: np.ndarray = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


def _milliseconds(search: Callable[[np.ndarray], Any], queries: np.ndarray) -> float:
    times = []
    for query in queries[: len(queries) // 2]:
        start = time.perf_counter()
        search(query)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    guarded(main)
