"""Score runs with all test queries at hand, or a bank of training captions: a track of its own, beside the plain scores."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pipeline
from pipeline.core.files import whole
from pipeline.core.formatting import markdown, tenth
from pipeline.core.record import sha256
from pipeline.evaluation import embeddings
from pipeline.evaluation.ranks import Floats
from pipeline.evaluation.transductive import BETA, NEEDS, SCALE, track
from pipeline.stages import guarded

AT_ONCE = 256  # captions
HEAD = ("Method", "Scores", "Needs at test time", "R@1", "R@5", "R@10", "v2t R@1")


def main() -> None:
    args = _arguments()
    rows = [row for run in args.runs for row in _rows(run, args)]
    note = (
        f"Not for a table of methods: numbers below the first line of a method know more than one query and the gallery. Dual softmax at "
        f"{SCALE:g}, querybank at {BETA:g}, both fixed beforehand and tuned on nothing."
    )
    text = f"{markdown(HEAD, rows)}\n{note}\n"
    if args.out:
        with whole(args.out) as part:
            part.write_text(text, encoding="utf-8")
    print(text, end="")


def _rows(run: Path, args: argparse.Namespace) -> list[list[str]]:
    made, about = embeddings.load(run / "embeddings.h5")
    if args.captions and made.temperature is not None:
        raise ValueError(f"{run} weighs frames by each query, which a bank of captions is not made for; leave --captions out")
    bank = _bank(run, args, str(about["adapter"])) @ made.video.T if args.captions else None
    values = track(made, bank)
    return [
        [str(about["run"]), name, NEEDS[name], *map(_shown, ("R1", "R5", "R10", "v2t_R1"), [found] * 4)] for name, found in values.items()
    ]


def _shown(key: str, found: dict[str, float]) -> str:
    return tenth(found[key]) if key in found else "\u2013"


def _bank(run: Path, args: argparse.Namespace, adapter: str) -> Floats:
    """Vectors (N, E) of training captions, evenly spread over the table."""
    table = pd.read_parquet(args.captions, columns=["split", "text"])
    strangers = sorted({str(split) for split in table["split"]} - {"train", "train+val"})
    if strangers or not len(table):
        raise ValueError(f"{args.captions} has captions of {', '.join(strangers) or 'nothing'}; a bank is of the training split alone")
    if sha256(run / "adapter.safetensors") != adapter:
        raise ValueError(f"{run}: adapter.safetensors is not the one that embeddings.h5 was made with; embed again")
    loaded: Any = pipeline.load(run / "adapter.safetensors", args.weights, device=args.device)
    step = max(1, math.ceil(len(table) / args.bank))
    texts = table["text"].tolist()[::step]
    return np.concatenate([loaded.encode_texts(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("--captions", type=Path, help="captions.parquet of the training split, for the querybank")
    parser.add_argument("--bank", type=int, default=5000, help="captions of it at most")
    parser.add_argument("--weights", help="of the backbone, where no params.yaml beside runs/ names them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="Markdown to write")
    args = parser.parse_args()
    if args.bank < 1:
        parser.error(f"--bank is {args.bank}; give at least 1")
    return args


if __name__ == "__main__":
    guarded(main)
