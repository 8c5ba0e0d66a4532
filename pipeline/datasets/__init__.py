"""One file a dataset: what the publisher gave -> the table of videos and the table of captions.

A dataset is a module with the functions of `Dataset` below; `folder` is that of everybody's own videos.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import pandas as pd

from pipeline.config import resolve, schema
from pipeline.config.dataset import Dataset as Entry
from pipeline.config.parse import refuse_unknown
from pipeline.config.settings import Annotate, Download
from pipeline.core.layout import REVERSED, SPLITS, recorded
from pipeline.datasets.annotations.letters import blank
from pipeline.datasets.annotations.rows import BOTH, CAPTION_COLUMNS, VIDEO_COLUMNS, refuse

Settings = Entry | Download | Annotate
OWN = "folder"
PRIVATE = "private"  # how the names of remotes begin that are closed to others


class Dataset(Protocol):
    """Interface of a file of this folder. `name` is the dataset's name in params.yaml."""

    def count(self, params: schema.Params, name: str) -> int:
        """The number of videos in all splits, or a little more; known before anything is downloaded."""
        ...

    def download(self, target: Path, settings: Download, name: str) -> None:
        """Fill the empty folder `target` with the publisher's files."""
        ...

    def tables(self, raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read the publisher's annotations below `raw`: the tables of `pipeline.datasets.annotations.rows`."""
        ...

    def expected(self, settings: Annotate) -> Mapping[str, tuple[int | None, int | None]]:
        """Published numbers of videos and captions (sentences) of each split; None where there is none."""
        ...

    def file_key(self, name: str) -> str:
        """The part that a video's official name shares with the names that its file has in circulation."""
        ...


def names() -> list[str]:
    """The datasets with a file of their own."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", OWN))


def module(name: str, settings: Settings) -> str:
    """The name of the module of a dataset. ValueError for an unknown one."""
    if settings.captions:
        return f"{__name__}.{OWN}"
    refuse_unknown(name, names(), what="unknown dataset", there="pipeline/datasets/ has")
    return f"{__name__}.{name}"


def load(name: str, settings: Settings) -> Dataset:
    """The module of a dataset. ValueError for an unknown one, and for a variant that it does not have."""
    found = importlib.import_module(module(name, settings))
    variants = getattr(found, "VARIANTS", ("",))
    if settings.variant and settings.variant not in variants:
        raise ValueError(f"datasets.{name}.variant is {settings.variant!r}; there are: {', '.join(filter(None, variants)) or 'none'}")
    return cast(Dataset, found)


def counts(params: schema.Params) -> dict[str, int]:
    """Videos of each dataset that is read: trained on, or only tested on."""
    return {name: load(name, params.datasets[name]).count(params, name) for name in resolve.read(params)}


def variant(name: str, given: str) -> str:
    """A variant of a dataset by one name: "" is the dataset's first, which may be given by its own name, too."""
    known = getattr(importlib.import_module(f"{__name__}.{name}"), "VARIANTS", ("",)) if name in names() else ("",)
    return "" if given == known[0] else given


def refuse_sharing(settings: schema.Params, *, where: str = "params.yaml") -> None:
    """ValueError where `dvc push` would send data that its licence does not let you pass on to a remote that is not marked private.

    The mark is the remote's name, and DVC sends such data nowhere else. Your own videos are your own affair.
    """
    if settings.remotes.data.startswith(PRIVATE):
        return
    for name in settings.run.datasets:
        about = getattr(importlib.import_module(module(name, settings.datasets[name])), "ABOUT", None)
        if about and not about.shared:
            raise ValueError(
                f"{where}: remotes.data is {settings.remotes.data!r}, and `dvc push` would send clips and captions of {about.title} there, "
                f"whose licence is: {about.licence}; set remotes.data: {PRIVATE}, and give that name to a remote that nobody reads "
                "who may not have them"
            )


def check(videos: pd.DataFrame, captions: pd.DataFrame, *, name: str) -> None:
    """ValueError unless the two tables are what every later step relies on; it names the first offending ids."""
    for table, columns in ((videos, VIDEO_COLUMNS), (captions, CAPTION_COLUMNS)):
        if tuple(table.columns) != columns:
            raise ValueError(f"{name}: the columns are {', '.join(table.columns)}; expected {', '.join(columns)}")
    home = videos.set_index("video_id")["split"]
    filmed = captions["video_id"].map(recorded)
    problems = {
        "videos listed twice": videos.loc[videos["video_id"].duplicated(), "video_id"],
        "videos that differ only in upper and lower case": videos.loc[videos["video_id"].str.lower().duplicated(), "video_id"],
        "videos of an unknown split": videos.loc[~videos["split"].isin((*SPLITS, BOTH)), "video_id"],
        "videos whose name says that they are reversed": videos.loc[videos["video_id"].str.endswith(REVERSED), "video_id"],
        "videos without a caption": videos.loc[~videos["video_id"].isin(filmed.unique()), "video_id"],
        "captions listed twice": captions.loc[captions["caption_id"].duplicated(), "caption_id"],
        "captions without a video": captions.loc[~filmed.isin(videos["video_id"]), "caption_id"],
        "empty captions": captions.loc[captions["text"].map(blank), "caption_id"],
    }
    for what, ids in problems.items():
        refuse(name, what, list(ids))
    strays = captions.loc[filmed.map(home).to_numpy() != captions["split"].to_numpy(), "caption_id"]
    refuse(name, "captions of another split than their video", list(strays))
