"""Your own videos: a folder and a CSV file with a caption a line (docs/adding-a-dataset.md).

Columns: video (path below the folder, with or without its ending), caption; optional split (train, val, test), start, end (seconds).
Several lines of one video and one part are several captions of it.
"""

import csv
import difflib
import hashlib
import io
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.config.dataset import Dataset, Own
from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core.contents import Known
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video

COLUMNS = ("video", "caption", "split", "start", "end")
SHOWN = 20  # mistakes


@dataclass(frozen=True)
class Line:
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
        return self.video, f"{self.start:g}", f"{self.end:g}"


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
    home = _splits(lines, settings.own)
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
    known = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    lines: list[Line] = []
    mistakes: list[tuple[int, str]] = []
    for number, row in _rows(file):
        line, wrong = _checked(number, row, known)
        mistakes += [(number, what) for what in wrong]
        lines.append(line)
    mistakes += _contradictions(lines)
    if mistakes:
        shown = [f"line {number}: {what}" for number, what in sorted(mistakes)[:SHOWN]]
        more = [f"and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        raise ValueError("\n  ".join([f"{file}: {len(mistakes)} mistakes:", *shown, *more]))
    if len({line.video for line in lines}) < len(SPLITS):
        raise ValueError(
            f"{file}: {len({line.video for line in lines})} videos; at least {len(SPLITS)} are needed, for train, val and test"
        )
    return lines


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column); commas, semicolons or tabs between cells, as in the header. ValueError for a header without the columns."""
    content = reading.text(file)
    header = content.partition("\n")[0]
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    names = [cell.strip().lower() for cell in next(reader, [])]
    for column in COLUMNS[:2]:
        if column not in names:
            raise ValueError(f"{file}: line 1: there is no column {column!r}; the header has {', '.join(names) or 'nothing'}")
    for column in names:
        if column not in COLUMNS or names.count(column) > 1:
            raise ValueError(f"{file}: line 1: column {column!r} is unknown or there twice; there are {', '.join(COLUMNS)}")
    before = reader.line_num
    try:
        for cells in reader:
            number, before = before + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                shape = (
                    {}
                    if len(cells) == len(names)
                    else {"": f"{len(cells)} cells instead of {len(names)}; put texts with commas into quotes"}
                )
                yield number, dict(zip(names, cells, strict=False)) | shape
    except csv.Error as error:
        raise ValueError(f"{file}: line {reader.line_num}: {error}") from error


def _checked(number: int, row: dict[str, str], known: set[str]) -> tuple[Line, list[str]]:
    wrong = [row[""]] if "" in row else []
    video, complaint = _file(row.get("video", "").strip(), known)
    wrong += complaint
    caption, split = row.get("caption", "").strip(), row.get("split", "").strip().lower()
    if not caption:
        wrong.append("the caption is empty")
    if split and split not in SPLITS:
        wrong.append(f"the split is {split!r}; choose train, val or test, or leave it empty")
    start, end = (_seconds(row.get(column, ""), column, wrong) for column in ("start", "end"))
    if (0 if math.isnan(start) else start) >= end:
        wrong.append(f"the part from {start:g} to {end:g} seconds is empty")
    return Line(number, video, caption, split, start, end), wrong


def _file(video: str, known: set[str]) -> tuple[str, list[str]]:
    """The path below the folder, and what is wrong with it."""
    path = PurePosixPath(video)
    if not video:
        return "", ["the video is empty"]
    if path.is_absolute() or ".." in path.parts:
        return video, [f"the video {video!r} leaves the folder"]
    if (plain := path.as_posix()) in known:
        return plain, []
    same = [name for name in known if PurePosixPath(name).parent == path.parent and file_key(PurePosixPath(name).name) == path.name]
    if len(same) == 1:
        return same[0], []
    if same:
        return video, [f"the video {video!r} could be {' or '.join(sorted(same))}; write the ending"]
    near = difflib.get_close_matches(plain, sorted(known)[:2000], n=1)
    return video, [f"there is no video {video!r}" + (f"; did you mean {near[0]!r}?" if near else "")]


def _seconds(cell: str, column: str, wrong: list[str]) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        wrong.append(f"{column} is {cell.strip()!r}; give seconds, for example 12.5")
        return math.nan
    return value


def _contradictions(lines: Sequence[Line]) -> list[tuple[int, str]]:
    """Captions that are there twice, and parts with two splits."""
    captions: dict[tuple[str, ...], int] = {}
    splits: dict[tuple[str, ...], Line] = {}
    found = []
    for line in lines:
        first = captions.setdefault((*line.part, line.caption), line.number)
        if first != line.number:
            found.append((line.number, f"the same video and caption as in line {first}"))
        other = splits.setdefault(line.part, line)
        if other.split != line.split:
            found.append((line.number, f"the split is {line.split or 'empty'}, and in line {other.number} {other.split or 'empty'}"))
    return found


def _splits(lines: Sequence[Line], own: Own) -> dict[str, str]:
    """The split of each file without one. All parts of a file are in one split.

    Files stand in the order of their places and are cut where the shares end, so that each split has its share, to less than a file.
    A split that no line names has at least one file. A file more, or fewer, moves each cut by one file at most.
    """
    if len(own.shares) != len(SPLITS) or min(own.shares) < 0 or abs(sum(own.shares) - 1) > 1e-9:
        raise ValueError(f"own.shares is {own.shares}; give three shares that add up to 1, of train, val and test")
    given = {line.split for line in lines if line.split}
    order = sorted({line.video for line in lines if not line.split}, key=lambda video: (_place(video, own.seed), video))
    least = [int(split not in given) for split in SPLITS]
    if len(order) < sum(least):
        empty = [split for split in SPLITS if split not in given][len(order)]
        raise ValueError(f"no video is in {empty}; name a split for some in the column split")
    first = _cut(len(order), own.shares[0], low=least[0], high=len(order) - least[1] - least[2])
    second = _cut(len(order), own.shares[0] + own.shares[1], low=first + least[1], high=len(order) - least[2])
    return {video: SPLITS[(n >= first) + (n >= second)] for n, video in enumerate(order)}


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
