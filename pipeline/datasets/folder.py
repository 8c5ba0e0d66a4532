"""Your own videos: a folder and a CSV file with a caption a line (docs/adding-a-dataset.md).

Columns: video (path below the folder, with or without its ending), caption; optional split (train, val, test), start, end (seconds).
Several lines of one video and one part are several captions of it.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from pipeline.config.dataset import Dataset, Own
from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core.contents import Known
from pipeline.core.formatting import plain
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import rows
from pipeline.datasets.annotations.letters import blank, escaped, shown
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.own import table
from pipeline.datasets.own.names import Names, below

SHOWN = 20  # mistakes


class Line(NamedTuple):
    """One caption of the file: its line, the video below the folder, and the part of it in seconds, NaN where it is open."""

    number: int
    video: str
    caption: str
    split: str
    start: float
    end: float

    @property
    def part(self) -> tuple[str, str, str]:
        """Equal for captions of one video; NaN is not equal to itself."""
        return self.video, plain(self.start), plain(self.end)


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    return len(parts(params.datasets[name], name))


def parts(settings: Dataset | Annotate, name: str) -> list[tuple[str, str, str]]:
    """File, start and end of each video, in the order of the table. Raises ValueError with every mistake in captions.csv."""
    return list(dict.fromkeys(line.part for line in read(settings, name)))


def download(target: Path, settings: Download, name: str) -> None:
    """The files are yours; nothing is fetched."""


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    """Nobody published a number."""
    return {}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    lines = read(settings, name)
    home = _splits(lines, settings.own, settings.captions)
    videos: dict[tuple[str, str, str], Video] = {}
    captions: list[Caption] = []
    orders: dict[str, int] = {}
    for line in lines:
        video_id = _video_id(line)
        split = line.split or home[line.video]
        videos[line.part] = Video(video_id, line.video, split, src_path=line.video, start=line.start, end=line.end)
        order = orders[video_id] = orders.get(video_id, -1) + 1
        captions.append(Caption(video_id, f"{video_id}#{order}", order, line.caption, split))
    return rows.tables(name, videos.values(), captions)


def files(settings: Dataset | Annotate, videos: Sequence[tuple[str, str, str]]) -> list[Path]:
    """The file of each video, given as `parts` gives them."""
    return [Path(settings.videos, video) for video, *_ in videos]


def fingerprint(settings: Dataset | Annotate, videos: Sequence[tuple[str, str, str]], *, known: Known) -> str:
    """Changes when one of these videos is another file or another part, or the list of excluded ones is; not with the time of a file."""
    states = list(zip(videos, known.of(files(settings, videos)), strict=True))
    excluded = Path(settings.exclude).read_bytes() if settings.exclude and Path(settings.exclude).is_file() else b""
    return hashlib.sha256(repr(states).encode() + excluded).hexdigest()[:16]


def read(settings: Dataset | Annotate, name: str) -> list[Line]:
    """The lines of the file. Raises ValueError that lists every mistake with its line."""
    file, folder = Path(settings.captions), Path(settings.videos)
    for key, path, there in (("captions", file, file.is_file()), ("videos", folder, folder.is_dir())):
        if not there:
            raise ValueError(f"datasets.{name}.{key}: there is no {'file' if key == 'captions' else 'folder'} {str(path)!r}")
    names, starts = Names(below(folder)), dict[tuple[str, str], float]()
    lines: list[Line] = []
    mistakes: list[tuple[int, str]] = []
    for number, row, shape in table.rows(file):
        if shape:  # what its cells mean is not known
            mistakes.append((number, shape))
            continue
        line, wrong = _checked(number, row, names)
        mistakes += [(number, what) for what in wrong]
        lines.append(_from_the_beginning(line, starts))
    mistakes += _contradictions(lines)
    if mistakes:
        first = [f"line {number}: {what}" for number, what in sorted(mistakes)[:SHOWN]]
        more = [f"and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        raise ValueError("\n  ".join([f"{file}: {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}:", *first, *more]))
    if len({line.video for line in lines}) < len(SPLITS):
        raise ValueError(
            f"{file}: {len({line.video for line in lines})} videos; at least {len(SPLITS)} are needed, for train, val and test"
        )
    return lines


def _checked(number: int, row: Sequence[str], names: Names) -> tuple[Line, list[str]]:
    video, caption, split, begin, stop = map(str.strip, row)
    video, complaint = names.find(video)
    wrong = [complaint] if complaint else []
    if blank(caption):
        wrong.append("the caption is empty")
    if split and (split := split.lower()) not in SPLITS:
        wrong.append(f"the split is {shown(split)}; choose train, val or test, or leave it empty")
    start = _seconds(begin, "start", wrong) if begin else math.nan
    end = _seconds(stop, "end", wrong) if stop else math.nan
    if (0 if math.isnan(start) else start) >= end:
        wrong.append(f"the part from {plain(start)} to {plain(end)} seconds is empty")
    return Line(number, video, caption, split, start, end), wrong


def _seconds(cell: str, column: str, wrong: list[str]) -> float:
    try:
        return table.seconds(cell)
    except ValueError:
        wrong.append(f"{column} is {shown(cell)}; give seconds, for example 12.5, or a time such as 00:01:02.5")
        return math.nan


def _from_the_beginning(line: Line, starts: dict[tuple[str, str], float]) -> Line:
    """A part that starts at 0 and one whose start is empty are the same; it is named as its first line writes it."""
    if line.start > 0:
        return line
    first = starts.setdefault((line.video, plain(line.end)), line.start)
    return line if first is line.start else line._replace(start=first)


def _contradictions(lines: Sequence[Line]) -> list[tuple[int, str]]:
    """Captions that are there twice, and parts with two splits."""
    captions: dict[tuple[str, ...], int] = {}
    splits: dict[tuple[str, ...], Line] = {}
    found = []
    for line in lines:
        part = line.part
        first = captions.setdefault((*part, line.caption), line.number)
        if first != line.number:
            found.append((line.number, f"the same video and caption as in line {first}"))
        other = splits.setdefault(part, line)
        if other.split != line.split:
            one, two = (escaped(split) or "empty" for split in (line.split, other.split))
            found.append((line.number, f"the split is {one}, and in line {other.number} {two}"))
    return found


def _splits(lines: Sequence[Line], own: Own, file: str) -> dict[str, str]:
    """The split of each file for its parts without one: what the first of its others names, else drawn for the file as a whole.

    Files stand in the order of their places and are cut where the shares end, so that each split has its share, to less than a file.
    A split that no line names has at least one file. A file more, or fewer, moves each cut by one file at most.
    """
    if len(own.shares) != len(SPLITS) or min(own.shares) < 0 or abs(sum(own.shares) - 1) > 1e-9:
        raise ValueError(f"own.shares is {own.shares}; give three shares that add up to 1, of train, val and test")
    given = {line.split for line in lines if line.split}
    named = {line.video: line.split for line in reversed(lines) if line.split}
    order = sorted({line.video for line in lines} - named.keys(), key=lambda video: (_place(video, own.seed), video))
    least = [int(split not in given) for split in SPLITS]
    if len(order) < sum(least):
        empty = [split for split in SPLITS if split not in given][len(order)]
        raise ValueError(f"{file}: no video is in {empty}; name a split for some in the column split")
    first = _cut(len(order), own.shares[0], low=least[0], high=len(order) - least[1] - least[2])
    second = _cut(len(order), own.shares[0] + own.shares[1], low=first + least[1], high=len(order) - least[2])
    return named | {video: SPLITS[(n >= first) + (n >= second)] for n, video in enumerate(order)}


def _cut(files: int, share: float, *, low: int, high: int) -> int:
    """How many of the files come before the end of a share, rounded, between `low` and `high`."""
    return min(max(math.floor(files * share + 0.5), low), high)


def _place(video: str, seed: int) -> float:
    """A number from 0 to 1 that only the name and the seed decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}\t{video}".encode()).digest()[:6]) / 2**48


def _video_id(line: Line) -> str:
    """A name that any file system takes, told apart by a hash of the path and the part."""
    plain = unicodedata.normalize("NFKD", file_key(PurePosixPath(line.video).name)).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:40]
    return f"{readable or 'video'}-{hashlib.sha256(repr(line.part).encode()).hexdigest()[:10]}"
