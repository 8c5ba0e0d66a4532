"""Arguments that several stages share: the files of a split, the machine, those of every training, and those of searching."""

import argparse
from pathlib import Path

from pipeline.config.settings import Training
from pipeline.core import layout
from pipeline.inputs.split import Files
from pipeline.stages import add_settings


def add_split(parser: argparse.ArgumentParser, *, prefix: str = "") -> None:
    """The files of a split, but for the folder of clips, which all splits share (`add_machine`)."""
    parser.add_argument(f"--{prefix}videos", type=Path, required=True, help="frames.h5, a file of tokens, or videos.parquet for --clips")
    parser.add_argument(f"--{prefix}captions", type=Path, required=True, help="captions.parquet")
    parser.add_argument(f"--{prefix}text", type=Path, help="tokens of the captions")


def split_files(args: argparse.Namespace, prefix: str = "") -> Files:
    """The files given to the options of `add_split`."""
    videos, captions, text = (getattr(args, f"{prefix}{name}") for name in ("videos", "captions", "text"))
    return Files(videos=videos, captions=captions, text=text, clips=args.clips, extra=getattr(args, f"{prefix}extra", None))


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The clips, the device, its threads, and the processes that read ahead."""
    parser.add_argument("--clips", type=Path, help="folder that out_path of a videos.parquet is relative to")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=-1, help="processes that read ahead; -1: up to 6 on a GPU, none on a CPU")


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser with the arguments of every training: its settings, its data, its machine. No file of the test split is among them."""
    parser = argparse.ArgumentParser(description=description)
    add_settings(parser, Training)
    for split in ("train", "val"):
        add_split(parser, prefix=f"{split}-")
    parser.add_argument("--train-extra", type=Path, help="CSV with a sentence for each frame, for a method that trains with them")
    add_machine(parser)
    parser.add_argument("--save-every", type=int, default=0, help="steps between two states to go on from; 0: at the end of an epoch only")
    return parser


def training_files(args: argparse.Namespace) -> tuple[Files, Files]:
    """The files given to the options of `training_parser`: train and val."""
    return split_files(args, "train_"), split_files(args, "val_")


def add_indexes(parser: argparse.ArgumentParser) -> None:
    """The folder of all indexes, the device and its threads, for the commands that search and for the one that indexes."""
    parser.add_argument("--indexes", type=Path, default=Path(layout.INDEXES), help="folder of all indexes (indexes)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--threads", type=int, default=1, help="of torch; evaluation has one, too")
