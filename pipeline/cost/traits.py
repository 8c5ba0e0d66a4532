"""Traits of methods, each read from what its default settings attach to a CLIP, as the table of docs/methods.md."""

import ast
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build, forward
from pipeline.clip.folding import folds
from pipeline.config import registry
from pipeline.core.formatting import markdown, rewritten
from pipeline.core.layout import RAW
from pipeline.cost import families
from pipeline.inputs import frozen

BACKBONES = ("clip-tiny", "ViT-B-32-quickgelu")
SHAPE = methods.Shape(num_frames=12, num_words=24)  # fits both; no trait here depends on it
MARKS = ("<!-- methods: begin -->", "<!-- methods: end -->")
NO_BREAK = "\N{NO-BREAK SPACE}"
HEAD = ("method", "paper", "starts as CLIP", "sees time", "folds away", "videos from", "captions from")


@dataclass(frozen=True)
class Traits:
    """One method. `folds`: whether it folds away (`clip/folding.py`). `stores`: the deepest of each tower, on each backbone."""

    name: str
    paper: str
    starts_as_clip: bool
    sees_time: bool
    folds: str
    stores: dict[str, list[str]]


def page(text: str) -> str:
    """`text` with the table and the list of files between its two marks. ValueError if it has not both."""
    return rewritten(text, MARKS, generated())


def generated() -> str:
    """The backbones, the table of all methods, how they are on other families, and what each of their files is."""
    # Nothing is computed, so nothing needs memory.
    with torch.device("meta"):
        clips = [FrozenClip(build(name), name=name) for name in BACKBONES]
        found = [traits(name, clips) for name in registry.entries()]
    return f"{_backbones(clips)}\n{_table(found)}\n{families.table()}\n{_files()}"


def traits(name: str, clips: Sequence[FrozenClip]) -> Traits:
    """The traits of a method with its default settings on `clips`, which must be plain and are left so."""
    method = methods.load(name, config={})
    folded, stores = "", dict[str, list[str]](vision=[], text=[])
    for clip in clips:
        try:
            methods.attach(clip, method, shape=SHAPE)
            for tower, reach in frozen.reaches(clip).items():
                stores[tower].append(_store(tower, reach.level, top=len(getattr(clip, tower).blocks)))
            folded = folds(clip)
        finally:
            clip.detach_all()
    return Traits(name, method.paper, method.identity_at_init, method.sees_time, folded, stores)


def _store(tower: str, level: int, *, top: int) -> str:
    return f"{tower}@{forward.title(level, top=top)}" if level else RAW[tower][0]


def _backbones(clips: Sequence[FrozenClip]) -> str:
    named = (f"`{clip.name}` ({clip.vision.top} and {clip.text.top} blocks)" for clip in clips)
    return f"Two stores in a cell: the first on {', the second on '.join(named)}.\n"


def _table(found: Sequence[Traits]) -> str:
    return markdown(HEAD, map(_cells, found))


def _cells(of: Traits) -> tuple[str, ...]:
    answers = ("yes" if answer else "no" for answer in (of.starts_as_clip, of.sees_time))
    stores = (", ".join(f"`{store}`" for store in dict.fromkeys(names)) for names in of.stores.values())
    return (f"`{of.name}`", _link(of.paper), *answers, of.folds, *stores)


def _link(paper: str) -> str:
    number = paper.removeprefix("arXiv:")
    return f"[{number}](https://arxiv.org/abs/{number})"


def _files() -> str:
    """One entry a file: the first line of its docstring and, if it has several methods, what the name of each sets."""
    lines = []
    for file, kin in groupby(registry.entries().items(), key=lambda item: item[1].file):
        first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
        named = [f"`{name}`{_sets(entry.sets)}" for name, entry in kin]
        text = f"- [{file.name}](../pipeline/methods/{file.name}): {first}" + (f" {', '.join(named)}." if len(named) > 1 else "")
        lines.append(textwrap.fill(text, 140, subsequent_indent="  ", break_on_hyphens=False).replace(NO_BREAK, " ") + "\n")
    return "".join(lines)


def _sets(values: dict[str, Any]) -> str:
    pairs = ", ".join(f"{key}: {_yaml(value)}" for key, value in values.items())
    return f"{NO_BREAK}(`{pairs.replace(' ', NO_BREAK)}`)" if pairs else ""


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
