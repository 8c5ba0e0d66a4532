"""One file a dataset: what the publisher gave -> the table of videos and the table of captions.

A dataset is a module with three functions: `download(target, params)` fills `data/<name>/raw/`, `tables(raw)` reads it,
and `count(params)` is the number of videos, which must be known before anything is downloaded.
"""

import difflib
import importlib
from pathlib import Path
from typing import Protocol, cast

import pandas as pd

from pipeline.params import Params

SPLITS = ("train", "val", "test")
VIDEO_COLUMNS = ("dataset", "video_id", "official_name", "split", "src_path", "src_url", "licence", "anno_duration")
CAPTION_COLUMNS = ("dataset", "video_id", "caption_id", "order", "text", "split", "directed")


class Dataset(Protocol):
    """What a file of this folder offers."""

    def download(self, target: Path, params: Params) -> None:
        """Fill the empty folder `target` with the publisher's files."""
        ...

    def tables(self, raw: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read the publisher's files: videos and captions with the columns above."""
        ...

    def count(self, params: Params) -> int:
        """The number of videos in all splits."""
        ...


def names() -> list[str]:
    """The datasets, which are the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load(name: str) -> Dataset:
    """The module of a dataset. ValueError for an unknown one."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown dataset {name!r}; {hint}pipeline/datasets/ has: {', '.join(names())}")
    return cast(Dataset, importlib.import_module(f"pipeline.datasets.{name}"))


def check(videos: pd.DataFrame, captions: pd.DataFrame, *, name: str) -> None:
    """ValueError unless the two tables are what every later step relies on; it names the first offending ids."""
    for table, columns in ((videos, VIDEO_COLUMNS), (captions, CAPTION_COLUMNS)):
        if tuple(table.columns) != columns:
            raise ValueError(f"{name}: the columns are {', '.join(table.columns)}; expected {', '.join(columns)}")
    home = videos.set_index("video_id")["split"]
    problems = {
        "videos listed twice": videos.loc[videos["video_id"].duplicated(), "video_id"],
        "videos that differ only in upper and lower case": videos.loc[videos["video_id"].str.lower().duplicated(), "video_id"],
        "videos of an unknown split": videos.loc[~videos["split"].isin(SPLITS), "video_id"],
        "videos without a caption": videos.loc[~videos["video_id"].isin(captions["video_id"]), "video_id"],
        "captions listed twice": captions.loc[captions["caption_id"].duplicated(), "caption_id"],
        "captions without a video": captions.loc[~captions["video_id"].isin(videos["video_id"]), "caption_id"],
        "empty captions": captions.loc[captions["text"].str.strip() == "", "caption_id"],
    }
    for what, ids in problems.items():
        if len(ids):
            raise ValueError(f"{name}: {len(ids)} {what}: {', '.join(map(str, ids[:3]))}")
    strays = captions.loc[captions["video_id"].map(home).to_numpy() != captions["split"].to_numpy(), "caption_id"]
    if len(strays):
        raise ValueError(f"{name}: {len(strays)} captions of another split than their video: {', '.join(map(str, strays[:3]))}")
