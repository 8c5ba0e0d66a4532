"""Keys of a settings file, read from its dataclass and that one's source: type, default, limit, choices, and the comment, its meaning."""

import ast
import inspect
import io
import textwrap
import tokenize
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

import omegaconf


@dataclass(frozen=True)
class Key:
    """One key. `kind`: its type, which may be null besides if `optional`. `meaning`: its comment, or the docstring of its `section`.

    `section`: the dataclass of its value, or of each value in it where these are `named` by the user. `partly`: a dataclass of which it
    takes some keys. `default`: omegaconf.MISSING where it has to be set.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    meaning: str
    least: float | None
    choices: Mapping[str, str]
    number: str
    section: type[Any] | None
    named: bool
    partly: type[Any] | None

    @property
    def required(self) -> bool:
        """Whether it has to be set, or something in its section has."""
        inside = keys(self.section) if self.section and not self.named else []
        return self.default == omegaconf.MISSING or any(key.required for key in inside)


def keys(section: type[Any]) -> list[Key]:
    """All keys of a section, in the order of its source."""
    hints = typing.get_type_hints(section)
    said: dict[str, str] = {}
    for declaring in (part for part in reversed(section.__mro__) if is_dataclass(part)):
        said |= comments(declaring)
    return [_key(entry, hints[entry.name], said.get(entry.name, "")) for entry in fields(section)]


def title(section: type[Any]) -> str:
    """The docstring of a section as one paragraph; "" for the one that `dataclass` writes itself."""
    text = " ".join((inspect.getdoc(section) or "").split())
    return "" if text.startswith(f"{section.__name__}(") else text


def comments(section: type[Any]) -> dict[str, str]:
    """The comment in the lines of each field of a dataclass."""
    source = textwrap.dedent(inspect.getsource(section))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {token.start[0]: token.string.removeprefix("#").strip() for token in tokens if token.type == tokenize.COMMENT}
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found[node.target.id] = " ".join(lines[line] for line in own if line in lines)
    return found


def _key(entry: "Field[Any]", hint: Any, comment: str) -> Key:
    optional = type(None) in typing.get_args(hint)
    kind = next(part for part in typing.get_args(hint) if part is not type(None)) if optional else hint
    named = typing.get_origin(kind) is dict
    inner = typing.get_args(kind)[1] if named else kind
    section = inner if isinstance(inner, type) and is_dataclass(inner) else None
    return Key(
        name=entry.name,
        kind=kind,
        optional=optional,
        default=entry.default if entry.default is not MISSING else _made(entry),
        meaning=comment or (title(section) if section else ""),
        least=entry.metadata.get("least"),
        choices=entry.metadata.get("choices", {}),
        number=entry.metadata.get("number", ""),
        section=section,
        named=named,
        partly=entry.metadata.get("keys_of"),
    )


def _made(entry: "Field[Any]") -> Any:
    return omegaconf.MISSING if entry.default_factory is MISSING else entry.default_factory()
