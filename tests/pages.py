"""The commands that a page of docs/ shows, for the tests that type them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^\$ (.+)$", re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
COMMENT = re.compile(r" {2,}#.*$")


def commands(page):
    """Heading -> the lines of its indented blocks, and those behind `$ ` in its fences, without their comments."""
    _, *pieces = SECTION.split((ROOT / "docs" / page).read_text(encoding="utf-8"))
    found = {}
    for heading, text in zip(pieces[::2], pieces[1::2], strict=True):
        shown = [line for block in FENCE.findall(text) for line in SESSION.findall(block)]
        typed = [line.strip() for block in INDENTED.findall(FENCE.sub("", text)) for line in block.splitlines()]
        if lines := [COMMENT.sub("", line) for line in (*typed, *shown)]:
            found[heading] = lines
    return found
