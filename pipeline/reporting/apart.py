"""Tables of their own, below the main one and never in it: each says what its numbers are."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.formatting import markdown


@dataclass(frozen=True)
class Table:
    """Rows of text under a `head`. `about`: sentences on what was measured."""

    title: str
    about: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def to_markdown(found: Sequence[Table]) -> str:
    """The tables as Markdown, each under its title."""
    return "".join(f"\n## {table.title}\n\n{table.about}\n\n{markdown(table.head, table.rows, right=True)}" for table in found)
