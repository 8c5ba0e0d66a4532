"""docs/backbones.md, whose table of sizes follows from open_clip's configurations and tags."""

import re
from pathlib import Path

import pytest

from pipeline.core.formatting import markdown_row
from pipeline.cost import backbones

PAGE = (Path(__file__).parents[2] / "docs/backbones.md").read_text(encoding="utf-8")
TABLE = PAGE.partition(backbones.MARKS[0])[2].partition(backbones.MARKS[1])[0]


def test_the_table_has_a_row_for_each_tag_in_their_order():
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \|", TABLE, flags=re.MULTILINE)
    assert rows == [(name, tag) for name, tags in backbones.CHOSEN.items() for tag in tags]


# Each further one takes as long; these have a tag that squashes, a large token table, rotary positions with another interpolation.
@pytest.mark.parametrize(("name", "tag"), [("ViT-H-14-quickgelu", "dfn5b"), ("ViT-B-16-SigLIP2", "webli"), ("PE-Core-B-16", "meta")])
def test_a_row_is_what_open_clip_says(name, tag):
    assert markdown_row(backbones.cells(name, tag)) in TABLE, "docs/backbones.md is not what open_clip says: make docs"


def test_a_page_gets_the_table_between_its_marks(monkeypatch):
    monkeypatch.setattr(backbones, "CHOSEN", {"clip-tiny-siglip": ()})
    begin, end = backbones.MARKS
    head = markdown_row(backbones.HEAD)
    assert backbones.page(f"a\n{begin}\nold\n{end}\nb\n") == f"a\n{begin}\n{head}{markdown_row(['---'] * len(backbones.HEAD))}{end}\nb\n"
