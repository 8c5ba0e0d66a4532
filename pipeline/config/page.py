"""docs/configuration.md: every key of a settings file in Markdown, from its dataclass."""

import json
import re
import typing
from collections.abc import Iterator
from typing import Any

from pipeline.config.keys import Key, keys, title

NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}
PLURALS = {int: "whole numbers", float: "numbers", str: "words"}
HEAD = """# Configuration

All keys of `params.yaml`, and of [`slurm/site.yaml`](#slurmsiteyaml). `make docs` writes this page from the comments in
[`schema.py`](../pipeline/config/schema.py) and [`dataset.py`](../pipeline/config/dataset.py) of `pipeline/config/`; change it there.

A key that is not here stops the run, and the message names its place and the nearest key. Without a value it has its default; a dataset's
[protocol](protocol.md#datasets) and a run's [recipe](methods.md#presets) come before the default, and `params.yaml` before them. The
hyper-parameters of methods (`methods.<name>.config`) are in [methods.md](methods.md) and, with defaults, in `pipeline/methods/<file>.py`.

Editors that know JSON Schema complete these keys, show their meaning and mark mistakes: VS Code with the extension *YAML*, and all that use
`yaml-language-server`. The first line of `params.yaml` tells them where [params.schema.json](params.schema.json) lies, seen from the file:

    # yaml-language-server: $schema=docs/params.schema.json
"""


def text(params: type[Any], *, site: type[Any]) -> str:
    """The whole page, from the dataclasses of params.yaml and of slurm/site.yaml."""
    alone = [key for key in keys(params) if key.section is None]
    places = list(_sections(params))
    lines = [HEAD, "Sections: " + ", ".join(f"[`{place}`](#{anchor(place)})" for place, _ in places) + ".", ""]
    lines += ["## Without a section", "", *_items(alone), ""]
    for place, section in places:
        lines += [f"## `{place}`", "", linked(title(section)), "", *_items(keys(section)), ""]
    lines += ["## `slurm/site.yaml`", "", linked(title(site)), "", *_items(keys(site)), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _sections(section: type[Any], prefix: str = "") -> Iterator[tuple[str, type[Any]]]:
    """Each section below one, with its place in the file."""
    for key in keys(section):
        if key.section is not None:
            place = f"{prefix}{key.name}{'.<name>' if key.named else ''}"
            yield place, key.section
            yield from _sections(key.section, f"{place}.")


def _items(found: list[Key]) -> Iterator[str]:
    """A list item for each key that holds no section, and below it those of its choices that need words."""
    for key in found:
        if key.section is None:
            yield f"- **`{key.name}`** ({', '.join(_facts(key))}): {linked(key.meaning)}"
            yield from (f"  - `{word}`: {linked(meaning)}" for word, meaning in key.choices.items() if meaning)


def _facts(key: Key) -> Iterator[str]:
    yield _kind(key)
    if key.least is not None:
        yield f"at least {key.least}"
    yield "has to be set" if key.required else f"default {_value(key.default)}"


def _kind(key: Key) -> str:
    if key.choices:
        *most, last = [*(f"`{word}`" for word in key.choices), *filter(None, [key.number])]
        return f"{', '.join(most)} or {last}"
    inner = typing.get_args(key.kind)
    if typing.get_origin(key.kind) is list:
        return f"list of {PLURALS[inner[0]]}"
    return "mapping" if inner else NAMES[key.kind]


def _value(value: Any) -> str:
    return "empty" if value in ("", [], {}) else "none" if value is None else f"`{json.dumps(value).strip(chr(34))}`"


def anchor(heading: str) -> str:
    """GitHub's name for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def linked(words: str) -> str:
    """Pages and files that a comment names, as links from docs/."""
    words = re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", words)
    return re.sub(r"\b(pipeline/[\w/-]+\.\w+)", r"[`\1`](../\1)", words)
