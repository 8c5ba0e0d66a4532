"""Traits of methods, and docs/methods.md, whose table they are."""

from pathlib import Path

import pytest

from pipeline import methods
from pipeline.clip.tower import BlockHooks
from pipeline.config import registry
from pipeline.cost import families, traits
from tests.conftest import small_clip

PAGE = Path(__file__).parents[2] / "docs/methods.md"


@pytest.mark.parametrize(
    ("name", "folds", "vision", "text"),
    [
        ("zero_shot", "yes", "vision@all", "text@all"),
        ("bias", "yes", "frames", "captions"),
        ("partial", "yes", "vision@2", "text@2"),
        ("proj", "yes", "vision@3", "text@3"),
        ("lora", "yes", "frames", "captions"),
        ("mv_adapter", "no", "frames", "captions"),
        ("vop_f", "no", "frames", "captions"),
        ("cached_head", "no", "vision@all", "text@all"),
        ("tempme", "in part", "frames", "captions"),
        ("zero_i2v", "in part", "frames", "captions"),
        ("sherl", "no", "frames", "captions"),
        ("frame_weights", "no", "vision@all", "text@all"),
    ],
)
def test_traits_follow_from_what_is_attached(monkeypatch, name, folds, vision, text):
    monkeypatch.setattr(traits, "SHAPE", methods.Shape(4, 12))
    clip = small_clip()
    found = traits.traits(name, [clip])
    assert (found.folds, found.stores) == (folds, {"vision": [vision], "text": [text]})
    assert not clip.trained() and all(hooks == BlockHooks() for hooks in clip.vision.hooks)


def test_the_page_is_up_to_date_and_has_every_method():
    text = PAGE.read_text(encoding="utf-8")
    assert text == traits.page(text), "docs/methods.md is not what the methods are: make docs"
    assert all(text.count(f"\n| `{name}` |") == 2 for name in registry.entries())


@pytest.mark.parametrize(
    ("name", "config", "cells"),
    [
        ("lora", {}, ["runs", "runs", "runs"]),
        ("proj", {}, ["runs", "runs, nothing in vision", "runs"]),
        ("vop_c", {}, ["runs, anchor: CLS", "runs, anchor: mean of patches", "runs, anchor: mean of patches"]),
        (
            "mv_adapter",
            {"anchor": "cls"},
            ["runs, anchor: CLS", "refused: mv_adapter: anchor is cls, but small-siglip", "runs, anchor: CLS"],
        ),
    ],
)
def test_a_cell_says_whether_a_method_runs_on_a_family_by_which_anchor_or_why_not(monkeypatch, name, config, cells):
    monkeypatch.setattr(families, "WORDS", 12)
    found = families._cells(name, config, [small_clip(family=family) for family in ("plain", "siglip", "pe")])
    assert all(cell.startswith(wanted) for cell, wanted in zip(found, cells, strict=True)), found
    assert name == "mv_adapter" or found == cells


def test_only_the_part_between_the_marks_is_rewritten(monkeypatch):
    monkeypatch.setattr(traits, "generated", lambda: "new\n")
    begin, end = traits.MARKS
    assert traits.page(f"above\n{begin}\nold\n{end}\nbelow\n") == f"above\n{begin}\nnew\n{end}\nbelow\n"


@pytest.mark.parametrize("text", ["", traits.MARKS[0], "{1} {0}".format(*traits.MARKS)])
def test_a_page_without_its_marks_is_refused(text, monkeypatch):
    monkeypatch.setattr(traits, "generated", str)
    with pytest.raises(ValueError, match="the page needs the marks"):
        traits.page(text)
