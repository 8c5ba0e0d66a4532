"""One row a video and one a caption, and the counts that must come out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

BOTH = "train+val"  # the split of a video that is trained and validated on


@dataclass(frozen=True)
class Video:
    """One video of a dataset. `start` and `end` in seconds: the part of the file that is the video; NaN: its first or last frame."""

    video_id: str
    official_name: str
    split: str
    src_path: str = ""  # relative to the folder of video files; "" if there is no file
    src_url: str = ""  # where the publisher took it from
    fetch_url: str = ""  # where the file can be had, if it must be fetched one by one
    licence: str = ""
    anno_duration: float = math.nan  # seconds, as the publisher says
    start: float = math.nan
    end: float = math.nan
    excluded: str = ""  # why it is left out


@dataclass(frozen=True)
class Caption:
    """One sentence. Those of one `paragraph_id` are one text in their `order`; "" is a sentence of its own."""

    video_id: str
    caption_id: str
    order: int
    text: str
    split: str
    directed: bool = False  # it is right for one direction of time only
    action: str = ""  # the kind of action that it names, of a directed one, where the publisher says so
    paragraph_id: str = ""


VIDEO_COLUMNS = ("dataset", *Video.__dataclass_fields__)
CAPTION_COLUMNS = ("dataset", *Caption.__dataclass_fields__)


def tables(name: str, videos: Iterable[Video], captions: Iterable[Caption]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of a dataset."""
    first = pd.DataFrame([(name, *vars(row).values()) for row in videos], columns=list(VIDEO_COLUMNS))
    return first, pd.DataFrame([(name, *vars(row).values()) for row in captions], columns=list(CAPTION_COLUMNS))


def in_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split; those of `train+val` are in two."""
    return table[(table["split"] == split) | ((table["split"] == BOTH) & (split in BOTH.split("+")))]


def refuse_other_counts(
    name: str, videos: pd.DataFrame, captions: pd.DataFrame, *, expected: Mapping[str, tuple[int | None, int | None]], strict: bool
) -> list[str]:
    """Compare the videos and captions of each split with what is `expected`.

    Returns a sentence for each difference; raises ValueError with all of them if `strict`.
    """
    found = []
    for split, numbers in expected.items():
        ids = in_split(videos, split)["video_id"]
        texts = in_split(captions, split)["caption_id"]
        for what, has, wanted, last in (("videos", len(ids), numbers[0], ids), ("captions", len(texts), numbers[1], texts)):
            if wanted is not None and has != wanted:
                found.append(f"{split} has {has} {what}, and {wanted} were published; the last of them are {listed(list(last)[-3:])}")
    if found and strict:
        raise ValueError(f"{name}: {'; '.join(found)}. Get the publisher's files again, or set datasets.{name}.counts: report")
    return found


def refuse(name: str, what: str, offending: Sequence[str]) -> None:
    """ValueError with the number and the first of `offending`, if there are any."""
    if offending:
        raise ValueError(f"{name}: {len(offending)} {what}: {listed(offending[:3])}")


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names)) or "none"
