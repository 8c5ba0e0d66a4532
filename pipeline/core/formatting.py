"""Numbers as people read them."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

SIZES = re.compile(r"\s*([\d.]+)\s*([kMGT]?)(i?)B?\s*", re.IGNORECASE)


def count(number: float, *, unit: str = "") -> str:
    """A count in thousands and millions: 122.9 k, 3.57 M. With a unit always to one decimal."""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(number) < 999.95 or prefix == "T":
            break
        number /= 1000
    digits = 0 if not prefix else 2 if abs(number) < 9.995 and not unit else 1
    return f"{number:.{digits}f} {prefix}{unit}".strip()


def significant(number: float) -> str:
    """Three digits, never in powers of ten: 0.0521, 4.41, 1234."""
    return f"{number:.{max(0, min(6, 2 - math.floor(math.log10(abs(number)))))}f}" if number else "0"


def plain(number: float, *, digits: int | None = None) -> str:
    """All digits that tell a number from others, or so many after the point; never in powers of ten: 1234567.8, 12, 0.00001, nan."""
    return np.format_float_positional(number, precision=digits, trim="-")


def moment(number: float) -> str:
    """Seconds, to the millisecond: 12.5, 1234567.8."""
    return plain(number, digits=3)


def size(number: float) -> str:
    """Bytes in decimal multiples: 1.2 MB."""
    return count(number, unit="B")


def sizes(text: str, *, what: str) -> list[int]:
    """Bytes of each size in a text such as `24GB 80 GiB`. ValueError for anything else, or for nothing."""
    found = []
    while text.strip():
        match = SIZES.match(text)
        if not match or match[1].count(".") > 1 or not match[1].strip(".") or not float(match[1]) or not match[2]:
            raise ValueError(f"{what} has {text.strip()!r}; give a size such as 80GB (10^9 bytes) or 80GiB (2^30)")
        found.append(round(float(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2].upper()) + 1)))
        text = text[match.end() :]
    if not found:
        raise ValueError(f"{what} names no size; give one such as 80GB")
    return found


def giga(number: float) -> str:
    """A number in 10⁹, to three digits."""
    return significant(number / 1e9)


def tenth(number: float) -> str:
    """Percentages and ranks, to one decimal."""
    return f"{number:.1f}"


def aligned(lines: Sequence[Sequence[str]], *, left: int) -> str:
    """Lines of cells as a table, the first `left` columns to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justified = ([*map(str.ljust, line[:left], widths), *map(str.rjust, line[left:], widths[left:])] for line in lines)
    return "".join("  ".join(cells).rstrip() + "\n" for cells in justified)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = False) -> str:
    """A table in Markdown; with `right` all columns but the first stand to the right."""
    rule = ["---", *("---:" if right else "---" for _ in head[1:])]
    return "".join(map(markdown_row, [head, rule, *rows]))


def markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def rewritten(page: str, marks: tuple[str, str], text: str) -> str:
    """A page with `text` between its two marks. ValueError if it has not both."""
    begin, end = marks
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page needs the marks {begin!r} and {end!r}, in this order")
    return f"{before}{begin}\n{text}{end}{after}"
