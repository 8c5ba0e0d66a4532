"""MSVD: 1,970 clips of YouTube videos with about 40 English sentences each (Chen and Dolan, ACL 2011).

Every sentence is a query. Video to text is reported twice: against the sets of sentences of all videos, and against all sentences.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core import textfile
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.annotations.sources import About, Source, named, obtain
from pipeline.datasets.fetch import pickles

ABOUT = About(
    title="MSVD",
    homepage="https://www.cs.utexas.edu/users/ml/clamp/videoDescription/",
    licence="Microsoft Research Video Description Corpus, for research; clips of YouTube videos",
    citation="Chen, Dolan: Collecting Highly Parallel Data for Paraphrase Evaluation, ACL 2011",
)
VARIANTS = ("",)
LISTS = tuple(f"{split}_list.txt" for split in SPLITS)
CAPTIONS = ("raw-captions.pkl", "captions_msvd.json", "raw-captions.json")
EXPECTED = {"train": (1200, 48774), "val": (100, 4290), "test": (670, 27763)}


def _video(name: str) -> str | None:
    path = PurePosixPath(name)
    return f"videos/{path.name}" if path.suffix == ".avi" and not path.name.startswith(".") else None


SOURCES = (
    Source(
        name="annotations",
        url="https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msvd_data.zip",
        file="msvd_data.zip",
        kind="zip",
        unpack=named(CAPTIONS[0], *LISTS),
        members={CAPTIONS[0]: "gitblob:1c1dea7d48a60e27e267534f0017b43bc59e938f"},
    ),
    Source(
        name="videos",
        url="https://www.cs.utexas.edu/users/ml/clamp/videoDescription/YouTubeClips.tar",
        file="YouTubeClips.tar",
        kind="tar",
        videos=True,
        unpack=_video,
    ),
)


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    return sum(videos for videos, _ in EXPECTED.values())


def download(target: Path, settings: Download, name: str) -> None:
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    return dict(EXPECTED)


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    sentences = _sentences(reading.need(raw, *CAPTIONS))
    home = [(clip, split) for split, file in zip(SPLITS, LISTS, strict=True) for clip in textfile.lines(reading.need(raw, file))]
    rows.refuse(name, "clips of a list have no captions", [clip for clip, _ in home if clip not in sentences])
    rows.refuse(name, "clips have captions and are in no list", sorted(sentences.keys() - {clip for clip, _ in home}))
    captions = [Caption(clip, f"{clip}#{order}", order, text, split) for clip, split in home for order, text in enumerate(sentences[clip])]
    return rows.tables(name, [_row(clip, split, name) for clip, split in home], captions)


def _sentences(path: Path) -> dict[str, list[str]]:
    """Of each clip its sentences; the pickle has them as lists of words."""
    content: Any = pickles.load(path) if path.suffix == ".pkl" else reading.json_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected clips with their captions, not {type(content).__name__}")
    found: dict[str, list[str]] = {}
    for clip, texts in content.items():
        if not isinstance(texts, list) or not all(isinstance(words, str) or _are_words(words) for words in texts):
            raise ValueError(f"{path}: the captions of {clip!r} are neither sentences nor lists of words")
        found[clip] = [words if isinstance(words, str) else " ".join(words) for words in texts]
    return found


def _are_words(words: Any) -> bool:
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _row(clip: str, split: str, name: str) -> Video:
    """<YouTube id>_<start>_<end>, of which the id may have both dashes and underscores."""
    source, start, end = ([*clip.rsplit("_", 2), "", ""])[:3]
    if not (source and start.isdigit() and end.isdigit()):
        raise ValueError(f"{name}: the clip {clip!r} is not named <YouTube id>_<start>_<end>")
    page = f"https://www.youtube.com/watch?v={source}"
    return Video(clip, clip, split, src_url=page, anno_duration=float(int(end) - int(start)))
