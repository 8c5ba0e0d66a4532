"""Protocols, the settings of a dataset that a paper fixes, as data in protocols.yaml; and the names that a dataset may be called by."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from pipeline.config.parse import refuse_unknown
from pipeline.config.recipes import merge

FILE = Path(__file__).parent / "protocols.yaml"


def canonical(name: str) -> str:
    """`MSR-VTT` -> `msrvtt`: the name of the dataset's file and folders, if it is a benchmark; else `name` as it is."""
    plain = re.sub(r"[-_ ]", "", name).lower()
    return plain if plain in _protocols()["default"] else name


def fill(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """`values` of params.yaml with canonical names of datasets, an entry for each that is run, and its protocol's values in it.

    Raises ValueError for an unknown protocol and for one dataset under two names.
    """
    run = values.get("run") or {}
    wanted = [canonical(str(name)) for name in run.get("datasets") or []]
    entries: dict[str, Any] = {name: {} for name in wanted if name in _protocols()["default"]}
    given: dict[str, str] = {}
    for name, entry in (values.get("datasets") or {}).items():
        own = canonical(str(name))
        if own in given:
            raise ValueError(f"{where}: datasets has {given[own]} and {name}, which are the same; keep one")
        given[own] = str(name)
        entries[own] = entry or {}
    filled = {name: _under_protocol(name, entry, where=where) for name, entry in entries.items()}
    return {**values, "run": {**run, "datasets": wanted} if "datasets" in run else run, "datasets": filled}


def _under_protocol(name: str, entry: Any, *, where: str) -> Any:
    if not isinstance(entry, Mapping):
        return entry  # the schema says what is wrong with it
    protocol = str(entry.get("protocol", "default"))
    what, there = f"{where}: datasets.{name}: unknown protocol", "pipeline/config/protocols.yaml has"
    refuse_unknown(protocol, sorted(_protocols()), what=what, there=there)
    return merge(_protocols()[protocol].get(name, {}), entry)


@cache
def _protocols() -> dict[str, dict[str, dict[str, Any]]]:
    return cast(dict[str, dict[str, dict[str, Any]]], OmegaConf.to_container(OmegaConf.load(FILE)))
