"""captions.csv as rows: cells between commas, semicolons or tabs, as spreadsheets save them, or JSON lines."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from pipeline.core import textfile
from pipeline.datasets.annotations.letters import escaped, folded, shown

TIMES = ("start", "end")
COLUMNS = ("video", "caption", "split", *TIMES)
NEEDED = COLUMNS[:2]
Row = tuple[int, Sequence[str], str]
MARKS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MOST = 10  # columns that are listed
# How a spreadsheet is told what stands between cells.
TOLD = re.compile(r'"?sep=([^"\r\n])"?[ ,;\t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
# In tabs, 1,500 may be 1500.
COMMA = {";": re.compile(r"\d+,\d+"), "\t": re.compile(r"\d+,(?!\d{3}$)\d+")}
CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{1,2}(?:[.,][0-9]+)?)")


def rows(file: Path) -> Iterator[Row]:
    """(line, cells in the order of `COLUMNS`, "" or what is wrong with its shape) of each line that is not blank.

    Raises ValueError for a header without the columns, and where the file is no table.
    """
    content = textfile.text(file)
    return _objects(content, file) if content.lstrip().startswith(("{", "[")) else _cells(content, file)


def seconds(cell: str) -> float:
    """12.5, 01:02.5 or 00:01:02.5 as seconds. Raises ValueError for anything else."""
    if clock := CLOCK.fullmatch(cell):
        hours, minutes, rest = int(clock[1] or 0), int(clock[2]), float(clock[3].replace(",", "."))
        value = 3600 * hours + 60 * minutes + rest if rest < 60 and (minutes < 60 or not clock[1]) else math.nan
    else:
        value = math.nan if "_" in cell else float(cell)  # Python's own way to write 15 as 1_5
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{cell!r} is no time")
    return abs(value)  # -0 is 0


def _cells(content: str, file: Path) -> Iterator[Row]:
    ahead, mark, content = _divided(content)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=mark, strict=True)
    before = 0
    try:
        names = _header(reader)
        before = reader.line_num
        _refuse_others(names, f"{file}: line {ahead + max(before, 1)}")
        taken = itemgetter(*(names.index(column) if column in names else -1 for column in COLUMNS))
        for cells in reader:
            number, before = ahead + before + 1, reader.line_num
            if any(map(str.strip, cells)):
                wrong = "" if len(cells) == len(names) else _shape(cells, len(names), mark)
                cells += [""] * max(len(names) - len(cells), 1)
                yield number, _pointed(taken(cells), COMMA[mark]) if mark in COMMA else taken(cells), wrong
    except csv.Error as error:
        raise ValueError(
            f"{file}: line {ahead + before + 1}: the quotes do not pair: {escaped(str(error))}; write a quote inside a quoted text twice"
        ) from None


def _divided(content: str) -> tuple[int, str, str]:
    """Lines before the header, what stands between its cells, and the text from the header on."""
    told = TOLD.match(content)
    rest = content[told.end() :] if told else content
    marks = [told[1], *MARKS] if told else [*MARKS]
    return int(bool(told)), max(marks, key=lambda mark: _fits(rest, mark)), rest


def _fits(content: str, mark: str) -> tuple[bool, int]:
    """Whether the header has the columns with this mark between them, and how many."""
    try:
        names = _header(csv.reader(io.StringIO(content, newline=""), delimiter=mark, strict=True))
    except csv.Error:
        return False, 0
    return set(NEEDED) <= set(names), len(names)


def _header(reader: Iterator[list[str]]) -> list[str]:
    """The names of the first line that has any, without those of empty columns at its end."""
    for cells in reader:
        names = [folded(cell).strip() for cell in cells]
        if any(names):
            return names[: max(place for place, name in enumerate(names, start=1) if name)]
    return []


def _refuse_others(names: Sequence[str], where: str) -> None:
    for column in NEEDED:
        if column not in names:
            listed = ", ".join(map(escaped, names[:MOST])) + (", ..." if len(names) > MOST else "")
            raise ValueError(f"{where}: there is no column {column!r}; the header has {listed or 'nothing'}")
    for column in names:
        if column not in COLUMNS or names.count(column) > 1:
            raise ValueError(f"{where}: column {shown(column)} is unknown or there twice; there are {', '.join(COLUMNS)}")


def _shape(cells: Sequence[str], width: int, mark: str) -> str:
    """The fault in a row's number of cells; empty ones at its end may be too many."""
    if len(cells) > width and not any(map(str.strip, cells[width:])):
        return ""
    return f"{len(cells)} cells instead of {width}; put texts with {MARKS.get(mark, shown(mark))} into quotes"


def _pointed(row: Sequence[str], comma: re.Pattern[str]) -> Sequence[str]:
    """A row with points in its times instead of commas."""
    return *row[:-2], *(cell.replace(",", ".") if comma.fullmatch(cell.strip()) else cell for cell in row[-2:])


def _objects(content: str, file: Path) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(content, newline=""), start=1):
        if line.strip():
            try:
                # Numbers stay as they are written.
                found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once)
                if not isinstance(found, dict):
                    raise ValueError("it is something else")
                yield number, *_entry(found)
            except (ValueError, RecursionError) as error:
                why = getattr(error, "msg", None) or str(error)
                raise ValueError(f"{file}: line {number} is no JSON object of one video and caption: {why}; write one a line") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _entry(found: dict[str, Any]) -> tuple[list[str], str]:
    row = [value if isinstance(value, str) else "" for value in map(found.get, COLUMNS)]
    if any("\0" in cell or any("\ud800" <= letter <= "\udfff" for letter in cell) for cell in row):
        raise ValueError("it holds a NUL, or half a character")
    for key, value in found.items():
        if key not in COLUMNS:
            return row, f"{shown(key)} is unknown; there are {', '.join(COLUMNS)}"
        if not isinstance(value, str | None):
            return row, f"{key} is {shown(json.dumps(value))}; give a text"
    return row, ""
