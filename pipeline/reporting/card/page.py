"""The card of a dataset as Markdown. No text by strangers can break a table or the page."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.core.formatting import markdown
from pipeline.core.layout import SPLITS
from pipeline.reporting.card.text import HISTOGRAMS, Facts, bins, lost, notes, tables

BAR = 20  # characters of the longest bar of a histogram
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # line breaks, controls, marks that turn the direction of writing


def to_markdown(facts: Facts) -> str:
    """The whole card. The publisher's words stand first, then what was counted, then what was set."""
    about = facts["about"]
    said = "Counted in this copy of the dataset by this project; nothing here is copied from a paper."
    parts = [f"# {escape(about['title'])}\n", f"{said}\n", *_about(about)]
    for topic, rows in tables(facts):
        parts += [f"## {escape(topic)}\n", _table(["", *SPLITS], [[label, *cells] for label, cells in rows], right=True)]
    parts += [_histogram(f"{label}, {kind}", facts["histograms"][kind]) for kind, label in HISTOGRAMS.items()]
    parts += ["## Copies and files\n", _list(f"**{topic}.** {escape(sentence)}" for topic, sentence in notes(facts))]
    parts += _section("Videos that are not whole", _list(map(escape, lost(facts))))
    parts += _section("Deviations", _list(map(escape, about.get("deviations") or ())))
    settings = sorted((about.get("settings") or {}).items())
    parts += _section("Settings", _table(["", "value"], [[name, value] for name, value in settings]) if settings else "")
    return "\n".join(parts)


def escape(text: Any) -> str:
    """Text on one line that Markdown shows as it is."""
    shown = "".join(" " if unicodedata.category(letter) in HIDDEN else letter for letter in str(text))
    plain = " ".join(shown.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*_{}\[\]|#~!$])", r"\\\1", plain)
    return re.sub(r":(?=//)|(?<=www)\.", r"\\\g<0>", plain)  # an address of a stranger becomes no link


def _link(url: str) -> str:
    return f"<{url}>" if re.fullmatch(r"https?://[!-~]+", url) and not re.search(r"[<>|`\\]", url) else escape(url)


def _about(about: Facts) -> list[str]:
    """The card's facts about the publisher, and where the files came from."""
    rows = [(name, about.get(name)) for name in ("protocol", "homepage", "licence", "citation")]
    known = [f"**{name.capitalize()}.** {_link(value) if name == 'homepage' else escape(value)}" for name, value in rows if value]
    sources = [[s.get("name", ""), s.get("url", ""), s.get("digest") or "none recorded"] for s in about.get("sources") or ()]
    table = _table(["source", "address", "digest"], sources, links=(1,)) if sources else ""
    return ([_list(known)] if known else []) + ([table] if table else [])


def _section(title: str, body: str) -> list[str]:
    return [f"## {title}\n", body] if body else []


def _list(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, right: bool = False, links: Sequence[int] = ()) -> str:
    cells = [[_link(str(cell)) if i in links else escape(cell) for i, cell in enumerate(row)] for row in rows]
    return markdown(head, cells, right=right)


def _histogram(title: str, histogram: Facts) -> str:
    """Bars in a code block, each split to the scale of its own fullest bin."""
    counts = [histogram["counts"][split] for split in SPLITS]
    lines = ["".ljust(9) + "".join(split.ljust(BAR + 10) for split in SPLITS)]
    for i, label in bins(histogram):
        bars = ("█" * round(BAR * column[i] / max(1, *column)) for column in counts)
        cells = (f"{bar or ('▏' if column[i] else '')} {column[i]:,}" for bar, column in zip(bars, counts, strict=True))
        lines.append(label.rjust(7) + "  " + "".join(cell.ljust(BAR + 10) for cell in cells))
    text = "\n".join(line.rstrip() for line in lines) if len(lines) > 1 else "not measured"
    return f"## {title}\n\nA bin holds its upper end.\n\n```text\n{text}\n```\n"
