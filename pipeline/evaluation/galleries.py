"""Parts of a test set that others rank, scored beside the whole from the same embeddings: other queries, or another gallery.

The lists are files of the user's with ids only: an id a line, JSON's list of ids, or an object of such lists.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Gallery, Score
from pipeline.core import textfile
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.score import score


def blocks(made: Embeddings, *, settings: Score, missing: Collection[str]) -> dict[str, Any]:
    """The metrics of each of `settings.galleries` by its name, as `score` has them of the whole, with the list's hash and what it lost.

    `missing`: videos of the dataset without a clip; a list that names one is ranked without it. ValueError for a list that names strangers.
    """
    return {name: _block(made, name, gallery, settings, missing) for name, gallery in (settings.galleries or {}).items()}


def _block(made: Embeddings, name: str, gallery: Gallery, settings: Score, missing: Collection[str]) -> dict[str, Any]:
    listed = ids(Path(gallery.file), part=gallery.part)
    place = f"score.galleries.{name}: {gallery.file}"
    rows, lost = _places(listed, made.video_id, missing, place=place)
    if not len(rows):
        raise ValueError(f"{place}: none of its {len(listed)} videos has a clip")
    if len(set(rows)) < len(rows):
        raise ValueError(f"{place}: it names {len(rows) - len(set(rows))} videos twice")
    chosen = np.zeros(len(made.video_id), bool)
    chosen[rows] = True
    found = score(subset(made, chosen), settings=settings) if gallery.ranked == "gallery" else score(made, settings=settings, asked=chosen)
    digest = hashlib.sha256("\n".join(sorted(listed)).encode()).hexdigest()[:16]
    return {"ranked": gallery.ranked, "listed": len(listed), "missing": lost, "list_hash": digest, **found}


def ids(file: Path, *, part: str = "") -> list[str]:
    """The ids in a list. ValueError for a file of another form, a `part` that it has not, and one that must be named."""
    if not file.is_file():
        raise ValueError(f"there is no list of videos {str(file)!r}")
    text = textfile.text(file)
    if not text.lstrip().startswith(("{", "[")):
        if part:
            raise ValueError(f"{file} has an id a line, and no part {part!r}; leave `part` out")
        return _checked(textfile.filled(text), file)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON: {error}; get it again") from error
    if isinstance(content, dict):
        if part not in content:
            raise ValueError(f"{file} has the parts {', '.join(map(repr, content))}, and not {part!r}; set `part` to one of them")
        content = content[part]
    return _checked(content, file)


def subset(made: Embeddings, chosen: NDArray[np.bool_]) -> Embeddings:
    """The embeddings of the videos `chosen` (G,), with their captions and twins."""
    row = np.cumsum(chosen) - 1
    texts, twins = chosen[made.video_of_text], chosen[made.twin_of]
    return replace(
        made,
        video=made.video[chosen],
        mask=made.mask[chosen],
        video_id=[video for video, taken in zip(made.video_id, chosen, strict=True) if taken],
        text=made.text[texts],
        directed=made.directed[texts],
        caption_id=[caption for caption, taken in zip(made.caption_id, texts, strict=True) if taken],
        action=[action for action, taken in zip(made.action, texts, strict=bool(made.action)) if taken],
        video_of_text=row[made.video_of_text[texts]],
        twin=made.twin[twins],
        twin_of=row[made.twin_of[twins]],
    )


def _checked(content: Any, file: Path) -> list[str]:
    if not isinstance(content, list) or not content or not all(isinstance(entry, str) and entry for entry in content):
        raise ValueError(f"{file}: expected a list of ids of videos, not {str(content)[:100]}")
    return content


def _places(listed: list[str], known: list[str], missing: Collection[str], *, place: str) -> tuple[list[int], int]:
    """Rows of the listed videos, and how many are missing. ValueError names a video that is of no test set here."""
    row = {video: number for number, video in enumerate(known)}
    rows, lost, strangers = list[int](), 0, list[str]()
    for entry in listed:
        found = next((name for name in _names(entry) if name in row or name in missing), None)
        if found is None:
            strangers.append(entry)
        elif found in row:
            rows.append(row[found])
        else:
            lost += 1
    if strangers:
        raise ValueError(
            f"{place}: {len(strangers)} of {len(listed)} videos are not in the test set, {strangers[0]!r} first; "
            "it may be of another split or variant"
        )
    return rows, lost


def _names(entry: str) -> Iterator[str]:
    """The names that a video may have here which a list calls `entry`: with ActivityNet's `v_` or not, without what follows a dot or
    bar, and without its folder, which LSMDC's and others' files are in."""
    own = entry.rpartition("/")[2]
    for name in dict.fromkeys((entry, own, own.removeprefix("v_"))):
        yield name
        yield from (name[: bar.start()] for bar in reversed([*re.finditer(r"[._]", name)]) if bar.start())
