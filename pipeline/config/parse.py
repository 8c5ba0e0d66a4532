"""Values from YAML or JSON -> a dataclass, with an error that says where the typo is and what was probably meant."""

import copy
import difflib
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

T = TypeVar("T")
SHOWN = 60  # characters of a wrong value: enough to find it, where a whole section may stand in its place


def parse(schema: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """`values` as an instance of the dataclass `schema`. ValueError names the key in `where` and suggests the nearest one."""
    if not isinstance(values, Mapping):  # a file may hold anything
        raise ValueError(f"{where} is {shown(values)}; it takes keys with values")
    _refuse_unknown_keys(schema, values, where)
    try:
        merged = OmegaConf.merge(_defaults(typing.cast(Any, schema)), dict(values))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ValueError(f"{where}: {missing[0]!r} is not set")
        result = OmegaConf.to_object(merged)
        _refuse_wrong_values(result, where)
    except OmegaConfBaseException as error:
        raise ValueError(f"{where}: {str(error).splitlines()[0]} (key {error.full_key!r})") from error
    assert isinstance(result, schema)
    return result


@functools.cache
def _defaults(schema: Any) -> Any:
    """Of a dataclass; a third of the time of `parse`, if it were made each time. Merging copies it."""
    return OmegaConf.structured(schema)


def _refuse_unknown_keys(schema: Any, values: Any, where: str) -> None:
    """OmegaConf names an unknown key without its place; a typo deserves the place and the nearest key."""
    if not (is_dataclass(schema) and isinstance(values, Mapping)):
        return
    hints = typing.get_type_hints(schema)
    known = [f.name for f in fields(schema)]
    for key, value in values.items():
        refuse_unknown(str(key), known, what=f"{where}: unknown key", there="there are")
        kind = hints[key]
        if typing.get_origin(kind) is dict and isinstance(value, Mapping):
            for name, entry in value.items():
                _refuse_unknown_keys(typing.get_args(kind)[1], entry, f"{where}: {key}.{name}")
        elif not isinstance(kind, types.GenericAlias):
            _refuse_unknown_keys(kind, value, f"{where}: {key}")


def limited(default: Any, *, least: float) -> Any:
    """A field of a dataclass whose value may not be smaller than `least`."""
    return field(default=default, metadata={"least": least})


def chosen(*words: str, number: str = "", **meanings: str) -> Any:
    """A field of a dataclass whose value is one of some words, the first by default; or a number, where `number` says of what.

    A word that explains itself stands alone, another one comes with its meaning.
    """
    choices = dict.fromkeys(words, "") | meanings
    return field(default=next(iter(choices)), metadata={"choices": choices, "number": number})


# Of a field that came when there were files: at its default `stated` leaves it out, so that what was made before is not made anew.
LATER = {"later": True}


def later(entry: Any) -> Any:
    """`LATER` for a field that has metadata already."""
    assert isinstance(entry, Field)
    entry.metadata = types.MappingProxyType(entry.metadata | LATER)
    return entry


def stated(part: Any) -> dict[str, Any]:
    """A dataclass as a dict, as files and rules carry it: without the keys that came `later` and have their default."""
    kept = [entry for entry in fields(part) if not ("later" in entry.metadata and getattr(part, entry.name) == entry.default)]
    return {entry.name: _stated(getattr(part, entry.name)) for entry in kept}


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stated(one) for key, one in value.items()}
    return stated(value) if is_dataclass(value) else copy.deepcopy(value)


def _refuse_wrong_values(values: Any, where: str) -> None:
    for entry in fields(values):
        value = getattr(values, entry.name)
        if "least" in entry.metadata and not value >= entry.metadata["least"]:
            raise ValueError(f"{where}: {entry.name} is {value}; the least is {entry.metadata['least']}")
        if "choices" in entry.metadata:
            choose(value, entry.metadata["choices"], number=entry.metadata["number"], what=f"{where}: {entry.name}")
        for name, part in value.items() if isinstance(value, dict) else [(entry.name, value)]:
            if is_dataclass(part):
                _refuse_wrong_values(part, f"{where}: {name}" if part is value else f"{where}: {entry.name}.{name}")


def shown(value: Any) -> str:
    """A wrong value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def refuse_unknown(name: str, known: list[str], *, what: str, there: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{what} {name!r}; {hint}{there}: {', '.join(known) or 'none'}")


def choose(value: str, allowed: Iterable[str], *, what: str, number: str = "") -> str:
    """`value`, or ValueError with what is allowed: these words, and the digits of a number, where `number` says of what."""
    if value not in (known := list(allowed)) and not (number and value.isdecimal()):
        raise ValueError(f"{what} is {value!r}; choose one of {', '.join(known)}{f', or {number}' if number else ''}")
    return value
