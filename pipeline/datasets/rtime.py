"""RTime: stock footage with a human sentence for each direction of time (ACM Multimedia 2024, arXiv:2412.19178).

Variant `origin` is the usual task, videos as they were filmed. `hard` has both directions of each video in the gallery. The authors'
*Binary*, which of the two directions a sentence tells of, is the temporal probe of `hard`. A reversed video is the sampled frames of
the other one in reverse order: it has captions, and neither a row nor a file.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core.layout import REVERSED, SPLITS
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.letters import blank
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.annotations.sources import About, Source, obtain

ABOUT = About(
    title="RTime",
    homepage="https://github.com/qyr0403/Reversed-in-Time",
    licence="none stated for the annotations; stock footage under the terms of the site that sells it",
    citation="Reversed in Time, ACM Multimedia 2024, arXiv:2412.19178",
    deviations=(
        "A reversed video is the sampled frames in reverse order, not a file that was played backwards and sampled anew.",
        "Tested and validated with the human sentence of each direction; the rewritten ones are trained on.",
    ),
)
VARIANTS = ("origin", "hard")
FILES = dict(zip(SPLITS, ("train.json", "valid.json", "test.json"), strict=True))
SOURCES = tuple(
    Source(name=split, url=f"https://raw.githubusercontent.com/qyr0403/Reversed-in-Time/HEAD/{file}", file=file)
    for split, file in FILES.items()
)
VIDEOS = 21537
VAL, TEST = 500, 1000


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    return VIDEOS


def download(target: Path, settings: Download, name: str) -> None:
    _refuse_without_videos(settings, name)
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    """Of training nothing is known but the number of all videos."""
    directions = 2 if settings.variant == "hard" else 1
    return {"val": (VAL, VAL * directions), "test": (TEST, TEST * directions)}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    _refuse_without_videos(settings, name)
    published = {split: _published(reading.need(raw, file), name) for split, file in FILES.items()}
    home = [(video, split, entry) for split, entries in published.items() for video, entry in entries.items()]
    _refuse_shared(home, name)
    videos = [Video(video, video, split, src_url=str(entry.get("url", ""))) for video, split, entry in home]
    words = [(video, split, "forward", entry) for video, split, entry in home]
    if settings.variant == "hard":
        words += [(video, split, "reverse", entry) for video, split, entry in home if entry["reverse"]]
    return rows.tables(name, videos, [caption for said in words for caption in _captions(*said)])


def _captions(video: str, split: str, direction: str, entry: dict[str, Any]) -> list[Caption]:
    """The sentences of one direction, the human one first. `directed` is what the publisher says, even of two that are the same."""
    shown = video + (REVERSED if direction == "reverse" else "")
    texts = entry[f"{direction}_captions"] + (entry[f"{direction}_rewrites"] if split == "train" else [])
    return [Caption(shown, f"{shown}#{order}", order, text, split, directed=entry["reverse"]) for order, text in enumerate(texts)]


def _published(path: Path, name: str) -> dict[str, dict[str, Any]]:
    """Videos with their sentences. ValueError for an entry of another form, or one that says it has a reverse and tells nothing of it."""
    content = reading.json_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected videos with their sentences, not {type(content).__name__}")
    for video, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("reverse"), bool):
            raise ValueError(f"{path}: {video!r} does not say whether it has a reverse: {str(entry)[:100]}")
        for direction in ("forward", "reverse"):
            for kind in ("captions", "rewrites"):
                _refuse_other_texts(path, video, entry, f"{direction}_{kind}")
            if not entry[f"{direction}_captions"] and (direction == "forward" or entry["reverse"]):
                raise ValueError(f"{path}: {video!r} has no {direction}_captions")
    return content


def _refuse_other_texts(path: Path, video: str, entry: dict[str, Any], key: str) -> None:
    """ValueError unless the entry has a list of sentences under `key`, which becomes an empty one where there is none."""
    texts = entry.setdefault(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and not blank(text) for text in texts):
        raise ValueError(f"{path}: {key} of {video!r} are not sentences: {str(texts)[:100]}")


def _refuse_shared(home: list[tuple[str, str, dict[str, Any]]], name: str) -> None:
    seen: dict[str, str] = {}
    rows.refuse(name, "videos are in two splits", [video for video, split, _ in home if seen.setdefault(video, split) != split])


def _refuse_without_videos(settings: Annotate | Download, name: str) -> None:
    if not settings.videos:
        raise ValueError(
            f"{name}: nobody may hand its videos on; set datasets.{name}.videos to a folder of those that you have the right to use, "
            "named after their numbers"
        )
