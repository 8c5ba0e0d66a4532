"""docs/params.schema.json: a settings file as JSON Schema (draft 2020-12), by which editors complete and check it."""

import typing
from typing import Any

from pipeline.config.keys import Key, keys, title

NAMES = {int: "integer", float: "number", bool: "boolean", str: "string"}
WHOLE = r"^[1-9][0-9]*$"


def json_schema(section: type[Any], *, name: str) -> dict[str, Any]:
    """The schema of a file of that `name`. Each section is a definition of its own, as one may be used in several places."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    below = {found.__name__: _object(found) for found in _below(section)}
    return head | _object(section) | {"$defs": dict(sorted(below.items()))}


def _below(section: type[Any]) -> set[type[Any]]:
    own = {key.section for key in keys(section) if key.section}
    return own.union(*map(_below, own))


def _object(section: type[Any]) -> dict[str, Any]:
    """A section: its keys and no others."""
    found = keys(section)
    needed = [key.name for key in found if key.required]
    properties = {key.name: _property(key) for key in found}
    return {"description": title(section), "type": "object", "properties": properties, "additionalProperties": False, "required": needed}


def _property(key: Key) -> dict[str, Any]:
    default = {} if key.section or key.required else {"default": key.default}
    value = _limited(key)
    return {"description": _described(key)} | ({"anyOf": [value, {"type": "null"}]} if key.optional else value) | default


def _described(key: Key) -> str:
    return "\n".join([key.meaning, *(f"{word}: {meaning}" for word, meaning in key.choices.items() if meaning)])


def _limited(key: Key) -> dict[str, Any]:
    """The schema of a key's value, null aside."""
    if inside := key.section or key.partly:
        reference = {"$ref": f"#/$defs/{inside.__name__}"}
        return {"type": "object", "additionalProperties": reference} if key.section and key.named else reference
    if key.number:
        return {"anyOf": [{"enum": list(key.choices)}, {"type": "integer", "minimum": 1}, {"type": "string", "pattern": WHOLE}]}
    if key.choices:
        return {"enum": list(key.choices)}
    return _typed(key.kind) | ({} if key.least is None else {"minimum": key.least})


def _typed(kind: Any) -> dict[str, Any]:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        return {"type": "array", "items": _typed(inner[0])}
    if inner:
        return {"type": "object", "additionalProperties": True if inner[1] is Any else _typed(inner[1])}
    return {"type": NAMES[kind]}
