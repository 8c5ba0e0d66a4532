"""docs/configuration.md and docs/params.schema.json: up to date, with a meaning for every key, and as strict as the code."""

from dataclasses import dataclass

import pytest
from jsonschema import Draft202012Validator
from omegaconf import MISSING, OmegaConf

from pipeline.config import page
from pipeline.config.json_schema import json_schema
from pipeline.config.keys import keys
from pipeline.config.params import check
from pipeline.config.parse import chosen, limited
from pipeline.config.schema import Params
from pipeline.core.code import ROOT
from pipeline.rules.slurm import Site
from pipeline.stages.configuration import page_text, schema_text

VALIDATOR = Draft202012Validator(json_schema(Params, name="params.yaml"))


@pytest.mark.parametrize(("name", "text"), [("configuration.md", page_text), ("params.schema.json", schema_text)])
def test_it_is_up_to_date(name, text):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text(), f"docs/{name} is not what the code says: make docs"


def every(section):
    for key in keys(section):
        yield section, key
        yield from every(key.section) if key.section else ()


@pytest.mark.parametrize("section", [Params, Site])
def test_every_key_has_a_meaning(section):
    assert not [f"{home.__name__}.{key.name}" for home, key in every(section) if not key.meaning]


def read(name):
    return OmegaConf.to_container(OmegaConf.load(ROOT / name))


@pytest.mark.parametrize("name", ["params.yaml", "field/params.yaml", "tests/workflow/params.yaml"])
def test_the_shipped_files_are_valid(name):
    Draft202012Validator.check_schema(VALIDATOR.schema)
    assert not [error.message for error in VALIDATOR.iter_errors(read(name))]


@pytest.mark.parametrize("name", ["params.yaml", "field/params.yaml"])
def test_editors_find_the_schema_from_the_file(name):
    first = (ROOT / name).read_text(encoding="utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert ((ROOT / name).parent / path).resolve() == ROOT / "docs/params.schema.json"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("trian", {}),
        ("train.epoch", 3),
        ("train.epochs", 0),
        ("train.epochs", "many"),
        ("train.select", "worst"),
        ("train.store", "frame"),
        ("train.store", -1),
        ("methods.vop.train.lrr", 1.0),
        ("methods.vop.train.optimiser", "adam"),
        ("methods.vop.seeds", 3),
        ("datasets.motion.wrods", 3),
        ("datasets.motion.validation", "clear"),
        ("datasets.motion.frames.grid", "middle"),
        ("cache.dtype", "half"),
        ("run", {"datasets": ["motion"]}),
    ],
)
def test_what_the_code_refuses_is_marked(place, value):
    assert list(VALIDATOR.iter_errors(_with(place, value)))
    with pytest.raises(ValueError, match=place.split(".")[-1]):
        check(_with(place, value))


@pytest.mark.parametrize(("place", "value"), [("train.store", 3), ("train.store", "3"), ("methods.vop.seeds", None), ("train.lr", 1)])
def test_what_the_code_takes_is_not_marked(place, value):
    assert not list(VALIDATOR.iter_errors(_with(place, value)))
    check(_with(place, value))


def _with(place, value):
    values = read("params.yaml")
    OmegaConf.update(found := OmegaConf.create(values), place, value, merge=False)
    return OmegaConf.to_container(found)


@dataclass
class Inner:
    """A section."""

    depth: int = limited(2, least=1)  # metres; docs/x.md


@dataclass
class Outer:
    """A file."""

    inner: Inner = MISSING
    kind: str = chosen("plain", odd="what is not", number="a number of rows")  # of a row
    many: dict[str, str] | None = None  # by name, as in pipeline/x.py


def test_a_page_says_type_limit_default_choices_and_meaning():
    text = page.text(Outer, site=Inner)
    assert "## `inner`\n\nA section.\n\n- **`depth`** (whole number, at least 1, default `2`): metres; [x.md](x.md)\n" in text
    assert "- **`kind`** (`plain`, `odd` or a number of rows, default `plain`): of a row\n  - `odd`: what is not\n" in text
    assert "- **`many`** (mapping, default none): by name, as in [`pipeline/x.py`](../pipeline/x.py)\n" in text


def test_a_schema_has_types_limits_choices_and_what_has_to_be_set():
    found = json_schema(Outer, name="outer.yaml")
    assert found["required"] == ["inner"] and found["additionalProperties"] is False
    depth = found["$defs"]["Inner"]["properties"]["depth"]
    assert depth == {"description": "metres; docs/x.md", "type": "integer", "minimum": 1, "default": 2}
    valid = Draft202012Validator(found).is_valid
    assert [valid({"inner": {}, "kind": kind}) for kind in ("odd", 3, "3", "even", -3)] == [True, True, True, False, False]
