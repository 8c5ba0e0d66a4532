"""ActivityNet Captions: YouTube videos whose sentences are joined to one paragraph (Krishna et al., ICCV 2017).

The test set is that of the papers, val_1 with 4,917 videos; variant `val_2` has the paragraphs of other annotators for 4,885 of them.
There is no other validation set, so 500 training videos, chosen by a hash of their id, are held out, or trained on as well with
`validation: paper`.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import BOTH, Caption, Video
from pipeline.datasets.annotations.sources import About, Source, named, obtain
from pipeline.datasets.annotations.splits import held_out

ABOUT = About(
    title="ActivityNet Captions",
    homepage="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
    licence="none stated for the annotations; YouTube videos under YouTube's terms",
    citation="Krishna et al.: Dense-Captioning Events in Videos, ICCV 2017",
    deviations=("All 4,917 videos of val_1 are in the gallery; some codebases leave out up to 48 of them.",),
)
VARIANTS = ("val_1", "val_2")
FILES = ("train.json", "val_1.json", "val_2.json")
HELD_OUT = 500


SOURCES = (
    Source(
        name="annotations",
        url="https://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip",
        file="captions.zip",
        kind="zip",
        unpack=named(*FILES),
        members={
            FILES[0]: "sha256:704536b2779011c1a729c927ae30e39ea9c90c38557836bbe969499917243d69",
            FILES[1]: "sha256:466aaccb9ebe45c6db4c98488a4ddbeb5b22faffe62e1bbce81222c14fc29e1c",
            FILES[2]: "sha256:08fe56568bc92dd02a6150fe1094457a5f2ac72975b8778a922bc9a65aa7f0e9",
        },
    ),
    Source(name="videos", url="https://www.youtube.com/watch?v=", videos=True),
)
TRAIN = (10009, 37421)
HELD_OUT_SENTENCES = 1937
TEST = {"val_1": (4917, 17505), "val_2": (4885, 17031)}


def file_key(name: str) -> str:
    """The YouTube id, with or without `v_` before it; an id may itself begin with that."""
    bare = stem(name)
    return bare[2:] if len(bare) == 13 and bare.startswith("v_") else bare


def count(params: Params, name: str) -> int:
    return TRAIN[0] + TEST[params.datasets[name].variant or VARIANTS[0]][0]


def download(target: Path, settings: Download, name: str) -> None:
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    held = (HELD_OUT, HELD_OUT_SENTENCES) if settings.validation == "clean" else (0, 0)
    train = (TRAIN[0] - held[0], TRAIN[1] - held[1])
    return {"train": train, "val": (HELD_OUT, HELD_OUT_SENTENCES), "test": TEST[settings.variant or VARIANTS[0]]}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    train = _published(reading.need(raw, FILES[0]), name)
    test = _published(reading.need(raw, f"{settings.variant or VARIANTS[0]}.json"), name)
    rows.refuse(name, "videos are trained and tested on", sorted(train.keys() & test.keys()))
    held = held_out(train, HELD_OUT)
    other = "val" if settings.validation == "clean" else BOTH
    home = [(video, other if video in held else "train", entry) for video, entry in train.items()]
    home += [(video, "test", entry) for video, entry in test.items()]
    captions = [
        Caption(video, f"{video}#{order}", order, text, split, paragraph_id=video)
        for video, split, entry in home
        for order, text in enumerate(entry["sentences"])
    ]
    return rows.tables(name, [_row(video, split, entry, settings) for video, split, entry in home], captions)


def _published(path: Path, name: str) -> dict[str, dict[str, Any]]:
    """Videos by YouTube id. ValueError for an entry of another form, and for a video that is there with and without `v_`."""
    content = reading.json_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected videos with their sentences, not {type(content).__name__}")
    found: dict[str, dict[str, Any]] = {}
    for key, entry in content.items():
        whole = isinstance(entry, dict) and isinstance(entry.get("sentences"), list) and isinstance(entry.get("duration"), (int, float))
        if not whole or not all(isinstance(text, str) for text in entry["sentences"]):
            raise ValueError(f"{path}: {key!r} lacks a duration or sentences: {str(entry)[:100]}")
        if found.setdefault(file_key(key), entry) is not entry:
            raise ValueError(f"{path}: {file_key(key)!r} is there with and without 'v_'")
    rows.refuse(name, f"entries of {path.name} are no YouTube ids", [video for video in found if len(video) != 11])
    return found


def _row(video: str, split: str, entry: dict[str, Any], settings: Annotate) -> Video:
    page = f"https://www.youtube.com/watch?v={video}"
    fetch = "" if settings.videos else settings.mirrors.get("videos", SOURCES[1].url) + video
    return Video(video, f"v_{video}", split, src_url=page, fetch_url=fetch, anno_duration=float(entry["duration"]))
