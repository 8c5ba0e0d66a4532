"""docs/adding-a-method.md keeps its word: its blocks, put into a copy of the checkout, are a method that passes the contract."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.config.params import known_files, load_params
from tests.workflow.conftest import ROOT, fresh

PAGE = (ROOT / "docs/adding-a-method.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
NAME = "ia3"
CODE = (f"pipeline/methods/{NAME}.py", f"tests/methods/test_{NAME}.py")
# Tests of the contract that take one method and hold for one that starts as CLIP.
CONTRACT = 9


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of this repository to which a reader of the page has added the method."""
    checkout = fresh(tmp_path_factory.mktemp("added"))
    shutil.copytree(ROOT / "tests", checkout.folder / "tests")
    for file in ("pyproject.toml", "params.yaml"):
        shutil.copy2(ROOT / file, checkout.folder / file)
    for path in CODE:
        assert not (checkout.folder / path).exists(), f"the page adds {path}, which is there already"
        (checkout.folder / path).write_text(BLOCKS[path], encoding="utf-8")
    checkout.edit("params.yaml", lambda text: text.replace("\nmethods:\n", f"\nmethods:\n{BLOCKS['params.yaml']}"))
    return checkout


def command(program):
    """The words of the page's one command of `program`."""
    (line,) = re.findall(rf"^    ({program} .+)$", PAGE, flags=re.MULTILINE)
    return line.split()


def test_the_page_shows_three_files_and_their_names():
    assert set(BLOCKS) == {*CODE, "params.yaml"}
    for path in BLOCKS:
        assert f"`{path}`" in re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL), path


def test_its_line_of_the_parameters_is_right_with_its_method_and_refused_without(checkout):
    assert BLOCKS["params.yaml"].count("\n") == 1
    found = load_params(checkout.folder / "params.yaml")
    assert found.methods.keys() - load_params(ROOT / "params.yaml").methods.keys() == {NAME}
    known_files(found, checkout.folder / "pipeline")
    with pytest.raises(ValueError, match=f"unknown method '{NAME}'"):
        known_files(found, ROOT / "pipeline")


def test_its_own_tests_and_the_contract_pass_in_the_copy(checkout, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n 0")  # several processes would import and collect more than they test
    assert Path(checkout.run("python", "-c", "import pipeline; print(pipeline.__file__)").stdout).is_relative_to(checkout.folder)
    done = checkout.run(*command("python -m pytest"), "--junitxml=tests.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = list(ElementTree.parse(checkout.folder / "tests.xml").iter("testcase"))
    assert not [case.get("name") for case in cases if len(case)], "failed or skipped"
    own, contract = (sum(case.get("classname") == f"tests.methods.test_{part}" for case in cases) for part in (NAME, "contract"))
    assert own == BLOCKS[CODE[1]].count("\ndef test_") >= 3
    assert contract >= CONTRACT
    assert own + contract == len(cases)


def test_the_workflow_plans_its_run(checkout):
    planned = checkout.planned("--", *command("snakemake --cores all")[3:])
    assert {rule: planned.get(rule) for rule in ("train", "embed", "score")} == {"train": 1, "embed": 1, "score": 1}


def test_its_code_has_the_style_of_all_code(checkout):
    for check in (["check"], ["format", "--check"]):
        done = checkout.run("ruff", *check, *CODE)
        assert done.returncode == 0, done.stdout
