"""Numbers as people read them."""

import math

import numpy as np


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


def giga(number: float) -> str:
    """A number in 10⁹, to three digits."""
    return significant(number / 1e9)


def tenth(number: float) -> str:
    """Percentages and ranks, to one decimal."""
    return f"{number:.1f}"
