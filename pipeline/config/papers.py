"""Numbers that papers print, as papers/<paper>/published.csv has them: a cell of a table a line.

The folders beside such a file hold a params.yaml each, which runs the rows that can be run; `why` says of the others why not.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline.config.parse import refuse_unknown

FOLDER = Path(__file__).parents[2] / "papers"
METRICS = ("R1", "R5", "R10", "RSum", "MdR", "MnR")  # that our runs have, too
OTHER = ("share", "params", "R1_minus_full")  # % of CLIP and millions that are trained, and a difference of R@1, as printed
DIRECTIONS = ("t2v", "v2t", "")


@dataclass(frozen=True)
class Printed:
    """One printed number. `run`: the recipe or method that is the row, "" where it cannot be run; `variant`: "" is the dataset's first.

    `deviation`: as printed over seeds, None without. `why`: why there is no run, or why the run is not quite the row.
    """

    paper: str
    table: str
    row: str
    run: str
    dataset: str
    variant: str
    backbone: str
    direction: str
    metric: str
    value: float
    deviation: float | None
    source: str
    why: str


def files(folder: Path = FOLDER) -> list[Path]:
    """All lists of printed numbers."""
    return sorted(folder.glob("*/published.csv"))


def load(folder: Path = FOLDER) -> list[Printed]:
    """All printed numbers. ValueError names the file and the line of what is none."""
    return [cell for file in files(folder) for cell in _read(file)]


def _read(file: Path) -> Sequence[Printed]:
    where, columns = f"papers/{file.parent.name}/{file.name}", [entry.name for entry in fields(Printed)][1:]
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != columns:
            raise ValueError(f"{where}: the columns are {', '.join(reader.fieldnames or [])}; they must be {', '.join(columns)}")
        return [_cell(file.parent.name, row, where=f"{where}: line {reader.line_num}") for row in reader]


def _cell(paper: str, row: dict[str, str], *, where: str) -> Printed:
    if None in (*row, *row.values()):
        raise ValueError(f"{where} has another number of cells than the head; put a cell with a comma into quotes")
    refuse_unknown(row["metric"], [*METRICS, *OTHER], what=f"{where}: unknown metric", there="there are")
    refuse_unknown(row["direction"], list(DIRECTIONS), what=f"{where}: unknown direction", there="there are")
    if not row["run"] and not row["why"]:
        raise ValueError(f"{where}: {row['row']} has no run and no reason; fill run or why")
    try:
        value, deviation = float(row["value"]), float(row["deviation"]) if row["deviation"] else None
    except ValueError:
        raise ValueError(f"{where}: {row['value']} ± {row['deviation']} are no numbers; correct them") from None
    return Printed(paper, **{**row, "value": value, "deviation": deviation})  # type: ignore[arg-type]
