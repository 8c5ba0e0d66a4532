"""Score runs with all test queries at hand, or a bank of training captions: a track of its own, beside the plain scores."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.adapters.loaded import Adapter
from pipeline.core.files import whole, write_json
from pipeline.core.formatting import markdown
from pipeline.core.record import sha256
from pipeline.evaluation import embeddings
from pipeline.evaluation.ranks import Floats
from pipeline.evaluation.transductive import track
from pipeline.reporting.transductive import FILE, HEAD, NOTE, lines
from pipeline.stages import guarded

AT_ONCE = 256  # captions


def main() -> None:
    args = _arguments()
    rows = list[list[str]]()
    for run in args.runs:
        found = _scored(run, args)
        rows += lines(found["method"], [found["scores"]])
        if args.keep:
            write_json(run / FILE, found)
    text = f"{markdown(HEAD, rows)}\n{NOTE}\n"
    if args.out:
        with whole(args.out) as part:
            part.write_text(text, encoding="utf-8")
    print(text, end="")


def _scored(run: Path, args: argparse.Namespace) -> dict[str, Any]:
    made, about = embeddings.load(run / "embeddings.h5")
    bank = None
    if args.captions and made.temperature is not None:
        print(f"{run} weighs frames by each query, which a bank of captions is not made for; it has no querybank")
    elif args.captions:
        bank = _bank(run, args, str(about["adapter"])) @ made.video.T
    return {"method": str(about["run"]), "scores": track(made, bank), "embeddings": sha256(run / "embeddings.h5")}


def _bank(run: Path, args: argparse.Namespace, adapter: str) -> Floats:
    """Vectors (N, E) of training captions, evenly spread over the table."""
    table = pd.read_parquet(args.captions, columns=["split", "text"])
    strangers = sorted({str(split) for split in table["split"]} - {"train", "train+val"})
    if strangers or not len(table):
        raise ValueError(f"{args.captions} has captions of {', '.join(strangers) or 'nothing'}; a bank is of the training split alone")
    if sha256(run / "adapter.safetensors") != adapter:
        raise ValueError(f"{run}: adapter.safetensors is not the one that embeddings.h5 was made with; embed again")
    torch.set_num_threads(args.threads)
    loaded = Adapter(run / "adapter.safetensors", weights=args.weights, place=args.device)
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown to write")
    parser.add_argument("--keep", action="store_true", help=f"write {FILE} into each folder, for the report")
    args = parser.parse_args()
    if args.bank < 1:
        parser.error(f"--bank is {args.bank}; give at least 1")
    return args


if __name__ == "__main__":
    guarded(main)
