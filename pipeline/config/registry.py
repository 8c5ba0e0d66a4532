"""Names of methods, datasets and tiny CLIPs, read from the files of their folders without importing them.

A file is one dataset. A file is one method, named like the file, or a family: its VARIANTS are the names, each with the hyper-parameters
it sets. Reading is enough for the workflow, which asks this before every run: importing torch would take longer than all the rest.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "methods"
DATASETS = Path(__file__).parents[1] / "datasets"
CLIP = Path(__file__).parents[1] / "clip"
PLAIN = "zero_shot"  # the method that attaches nothing: CLIP as it is


@dataclass(frozen=True)
class Entry:
    """One method: its `file`, what its name sets, and the hyper-parameters it has."""

    file: Path
    sets: dict[str, Any]
    hyperparameters: list[str]

    @property
    def module(self) -> str:
        return f"pipeline.methods.{self.file.stem}"


@cache
def entries(folder: Path = FOLDER) -> dict[str, Entry]:
    """All methods of a folder by name. Two files that claim one name are an error of ours."""
    found: dict[str, Entry] = {}
    for file in sorted(folder.glob("*.py")):
        if file.stem != "__init__":
            for name, sets in _variants(file).items():
                assert name not in found, f"{file} and {found[name].file} both define {name}"
                found[name] = Entry(file, sets, _hyperparameters(file))
    return found


def datasets(folder: Path = DATASETS) -> list[str]:
    """All datasets by name. `folder.py` is for everybody's own videos, and names none."""
    return sorted(file.stem for file in folder.glob("*.py") if file.stem not in ("__init__", "folder"))


def tiny(folder: Path = CLIP) -> list[str]:
    """The architectures that the workflow pretrains itself: clip-tiny and its sisters."""
    return sorted(file.stem for file in folder.glob("*.json"))


def method_of(run: str) -> str:
    """The method of a run's name: `mv_adapter@long` is another setting of `mv_adapter`."""
    return run.split("@")[0]


def module_of(run: str) -> str:
    """The module of a run's method."""
    return entries()[method_of(run)].module


def _variants(file: Path) -> dict[str, dict[str, Any]]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _named(node, "VARIANTS") and node.value is not None:
            return dict(ast.literal_eval(node.value))
    return {file.stem: {}}


def _hyperparameters(file: Path) -> list[str]:
    """The fields of the dataclass that the file names in METHOD."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    chosen = {n.value.id for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Name) and _named(n, "METHOD")}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in chosen]
    body = [line for node in classes for line in node.body if isinstance(line, ast.AnnAssign)]
    return [line.target.id for line in body if isinstance(line.target, ast.Name) and "ClassVar" not in ast.unparse(line.annotation)]


def _named(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return isinstance(target, ast.Name) and target.id == name
