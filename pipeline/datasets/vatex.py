"""VATEX: ten-second parts of YouTube videos with ten English and ten Chinese sentences each (Wang et al., ICCV 2019).

Variant `official` tests on the 3,000 official validation videos, since the official test set has no public list of all captions; 500
training videos, chosen by a hash of their id, are held out. `hgr` halves those 3,000 by lists that travel with other works and that you
provide. `official_zh` and `hgr_zh` have the Chinese sentences, for multilingual backbones.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core import textfile
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.letters import blank
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import BOTH, Caption, Video
from pipeline.datasets.annotations.sources import About, Source, obtain
from pipeline.datasets.annotations.splits import held_out

ABOUT = About(
    title="VATEX",
    homepage="https://eric-xw.github.io/vatex-website/",
    licence="CC BY 4.0 for the annotations; YouTube videos under YouTube's terms",
    citation="Wang, Wu, Chen, Li, Wang, Wang: VATEX, ICCV 2019",
    deviations=("A video that is fetched is cut out of what YouTube has today, at the seconds that its name says.",),
)
VARIANTS = ("official", "hgr", "official_zh", "hgr_zh")
TRAIN, TEST = "vatex_training_v1.0.json", "vatex_validation_v1.0.json"
LISTS = tuple(f"{split}_list.txt" for split in SPLITS)  # of hgr
SITE = "https://eric-xw.github.io/vatex-website/data/"
SOURCES = (
    Source(name="train", url=SITE + TRAIN, file=TRAIN),
    Source(name="validation", url=SITE + TEST, file=TEST),
    Source(name="videos", url="https://www.youtube.com/watch?v=", videos=True),
)
NAME = re.compile(r"(?P<id>[\w-]{11})_(?P<start>\d{6})_(?P<end>\d{6})", re.ASCII)
SENTENCES = 10
TRAINED, HELD_OUT, TESTED, HALF = 25991, 500, 3000, 1500  # videos


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    return TRAINED + TESTED


def download(target: Path, settings: Download, name: str) -> None:
    if settings.variant.startswith("hgr") and not settings.annotations:
        raise ValueError(f"datasets.{name}.annotations is not set: the lists of hgr are in no public place; {_hint(name)}")
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    if settings.variant.startswith("hgr"):
        videos = (TRAINED, HALF, HALF)
    else:
        videos = (TRAINED - HELD_OUT * (settings.validation == "clean"), HELD_OUT, TESTED)
    return {split: (number, number * SENTENCES) for split, number in zip(SPLITS, videos, strict=True)}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    language = "chCap" if settings.variant.endswith("_zh") else "enCap"
    train, test = (_published(reading.need(raw, file), language, name) for file in (TRAIN, TEST))
    rows.refuse(name, "videos are in both files", sorted(train.keys() & test.keys()))
    home = _listed(raw, train, test, name) if settings.variant.startswith("hgr") else _official(train, test, settings)
    sentences = train | test
    captions = [Caption(clip, f"{clip}#{order}", order, text, split) for clip, split in home for order, text in enumerate(sentences[clip])]
    return rows.tables(name, [_row(clip, split, settings) for clip, split in home], captions)


def _official(train: Collection[str], test: Collection[str], settings: Annotate) -> list[tuple[str, str]]:
    held, other = held_out(train, HELD_OUT), "val" if settings.validation == "clean" else BOTH
    return [(clip, other if clip in held else "train") for clip in train] + [(clip, "test") for clip in test]


def _listed(raw: Path, train: Collection[str], test: Collection[str], name: str) -> list[tuple[str, str]]:
    """Clips with their splits out of the user's lists. ValueError where they do not divide the publisher's files."""
    home = [(clip, split) for split, file in zip(SPLITS, LISTS, strict=True) for clip in _clips(reading.need(raw, file, hint=_hint(name)))]
    rows.refuse(name, "clips are twice in the lists", [clip for clip, times in Counter(clip for clip, _ in home).items() if times > 1])
    rows.refuse(name, f"clips of {LISTS[0]} are not in {TRAIN}", [clip for clip, split in home if split == "train" and clip not in train])
    rows.refuse(
        name, f"clips of the other lists are not in {TEST}", [clip for clip, split in home if split != "train" and clip not in test]
    )
    rows.refuse(name, "clips are in no list", sorted({*train, *test} - {clip for clip, _ in home}))
    return home


def _clips(path: Path) -> list[str]:
    """The names in a list, which may have an ending; what stands behind a blank is not theirs."""
    return [stem(line.split()[0]) for line in textfile.lines(path)]


def _published(path: Path, language: str, name: str) -> dict[str, list[str]]:
    """Clips with their sentences. ValueError for an entry of another form, another number of sentences, or a clip that is there twice."""
    found: dict[str, list[str]] = {}
    for entry in reading.records(path, reading.json_file(path), keys={"videoID": str, language: list}):
        clip, texts = entry["videoID"], entry[language]
        if len(texts) != SENTENCES or not all(isinstance(text, str) and not blank(text) for text in texts):
            raise ValueError(f"{path}: {language} of {clip!r} are not {SENTENCES} sentences: {str(texts)[:100]}")
        if found.setdefault(clip, texts) is not texts:
            raise ValueError(f"{path}: {clip!r} is there twice")
    rows.refuse(name, f"entries of {path.name} are not named <YouTube id>_<start>_<end>", [clip for clip in found if _part(clip) is None])
    return found


def _part(clip: str) -> tuple[str, int, int] | None:
    """YouTube's id, start and end in seconds; None for another name, or a part that is empty."""
    named = NAME.fullmatch(clip)
    return (named["id"], int(named["start"]), int(named["end"])) if named and int(named["start"]) < int(named["end"]) else None


def _row(clip: str, split: str, settings: Annotate) -> Video:
    """A file of the user's is the part already; a fetched one is the whole video."""
    video, start, end = _part(clip) or ("", 0, 0)
    page = f"https://www.youtube.com/watch?v={video}"
    given = Video(clip, clip, split, src_url=page, anno_duration=end - start)
    if settings.videos:
        return given
    return replace(given, fetch_url=settings.mirrors.get("videos", SOURCES[2].url) + video, start=start, end=end)


def _hint(name: str) -> str:
    return (
        f"set datasets.{name}.annotations to a folder with {TRAIN}, {TEST} and {', '.join(LISTS)}, which name a clip a line and come "
        "with the data of HGR, TS2-Net and DGL"
    )
