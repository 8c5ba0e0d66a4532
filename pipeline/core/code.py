"""The files a module is made of, so that an edit re-runs what it touches and nothing else.

Static imports only: what is loaded by name (a method, a dataset) is listed by the rule itself.
"""

import ast
import hashlib
import os
import re
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATEMENT = re.compile(r"^[ \t]*((?:import|from)[ \t][^\n(]*(?:\([^)]*\))?[^\n]*)", re.MULTILINE)


def sources(*modules: str) -> list[str]:
    """Paths of `modules` and of everything of this package that they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = _path(module)
        if path is None or str(path) in found:
            continue
        found.add(str(path))
        waiting += _imports(path)
    return sorted(shown(Path(path)) for path in found)


@cache
def fingerprint(*modules: str) -> str:
    """SHA-256 of what is in those files: what one version of the code began, another may not go on with."""
    total = hashlib.sha256()
    for path in sources(*modules):
        total.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return total.hexdigest()


@cache
def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(_statements(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parents = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return tuple(sorted(name for name in names | parents if name.split(".")[0] == "pipeline"))


def _statements(text: str) -> ast.AST:
    """The imports of a module, each of which begins its line: a tenth of the time. All its code where a line only looks like one."""
    try:
        return ast.parse("\n".join(STATEMENT.findall(text)))
    except SyntaxError:
        return ast.parse(text)


def prefer(environment: MutableMapping[str, str]) -> None:
    """Let every Python that gets this environment run this code, whatever package is installed, or lies where it is started."""
    environment["PYTHONSAFEPATH"] = "1"  # `python -m` would look into that folder first
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))


def shown(path: Path) -> str:
    """Relative to the working directory where that is the checkout, so that it may be moved and messages stay short."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
