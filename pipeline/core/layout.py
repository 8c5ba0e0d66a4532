"""Layout of what a workflow makes: where runs, indexes, tables and stores lie, and back from a path.

The rules say it of all else, each for its own outputs. Folders are relative to that of params.yaml.
"""

from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "val", "test")
# Stores that a run reads of videos and captions, as `store` and `text_store` name them; besides, a number of blocks.
AUTO, FRAMES, CLIPS, CAPTIONS, FEATURES = "auto", "frames", "clips", "captions", "all"
RAW = {"vision": (FRAMES, CLIPS), "text": (CAPTIONS,)}  # stores that hold nothing of CLIP, by tower
FILES = {FRAMES: "frames.h5", CLIPS: "videos.parquet", CAPTIONS: "captions.parquet"}
RUNS, INDEXES = "runs", "indexes"
REVERSED = "~reversed"  # ends the id of a video that is another one from its last frame to its first, and has no file of its own


class Place(NamedTuple):
    """The folder of one run, or of its index of a gallery. `dataset`: in an index the name of the gallery."""

    root: Path
    dataset: str
    backbone: str
    run: str
    seed: str

    @property
    def name(self) -> str:
        return "/".join(self[1:])


def place(folder: Path) -> Place:
    """Of runs/<dataset>/<backbone>/<run>/<seed>, or indexes/..., by names alone: files of a DVC workspace may be links into its cache."""
    whole = folder.absolute()
    return Place(whole.parents[4], *whole.parts[-4:])


def recorded(video_id: str) -> str:
    """The id of the video that has the file: of a reversed one, the video that was filmed."""
    return video_id.removesuffix(REVERSED)


def run(dataset: str, backbone: str, run: str, seed: str | int, *, below: str = RUNS) -> str:
    """The folder of one run; `below` INDEXES that of its index."""
    return f"{below}/{dataset}/{backbone}/{run}/{seed}"


def split(dataset: str, split: str) -> str:
    """The folder of a split's tables, its frames, and below it the stores of each backbone."""
    return f"work/{dataset}/{split}"


def missing(dataset: str) -> str:
    """The list of videos that are missing or broken."""
    return f"work/{dataset}/missing.tsv"


def clips(dataset: str) -> str:
    """The folder of canonical clips."""
    return f"data/{dataset}/clips"


def raw(dataset: str) -> str:
    """The publisher's files."""
    return f"data/{dataset}/raw"


def store(folder: str, word: str, *, tower: str, backbone: str) -> str:
    """The file of a store in the `folder` of a split, by its word: one of FILES, or of a `tower` a number of blocks, or FEATURES."""
    return f"{folder}/{FILES[word]}" if word in FILES else f"{folder}/{backbone}/{tower}@{word}.h5"
