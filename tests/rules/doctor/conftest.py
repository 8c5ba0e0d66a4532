"""A folder to look at, programs that say what a test wants, and the case of the tiny configuration."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.params import check
from pipeline.rules.doctor.line import Case

TINY = Path(__file__).parents[2] / "workflow/params.yaml"
FIVE = {"msrvtt": 10_000}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Makes these programs, and no others, be on the path; their texts use what a shell has built in."""

    def put(**texts):
        place = tmp_path / "bin"
        place.mkdir(exist_ok=True)
        for name, text in texts.items():
            file = place / name.replace("_", "-")
            file.write_text(f"#!/bin/sh\n{text}\n")
            file.chmod(0o755)
        monkeypatch.setenv("PATH", str(place))

    put()
    return put


@pytest.fixture
def case():
    """Makes a case: the tiny configuration with other values, `a.b=c` as on a command line, and fields of Case."""

    def make(*dots, **fields):
        values = OmegaConf.merge(OmegaConf.load(TINY), OmegaConf.from_dotlist(list(dots)))
        params = check(OmegaConf.to_container(values))
        counts = {name: FIVE.get(name, 58) for name in params.run.datasets}
        return Case(**{"params": params, "counts": counts, "patience": 2.0} | fields)

    return make


@pytest.fixture
def said():
    """Runs a check: its lines as (state, text), of a state where one is named."""

    def run(check, case, state=None):
        return [text if state else (line.state, text) for line in check(case) for text in [line.text] if state in (None, line.state)]

    return run
