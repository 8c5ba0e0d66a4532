"""The imports of a module are found without reading all its code."""

import ast

import pytest

from pipeline.core import code

FORMS = {
    "in a function": "def f():\n    from pipeline.core import files\n",
    "over lines, with a comment that has a bracket": "from pipeline.core import (  # those (two)\n    files,\n    locks,\n)\n",
    "beside another": "import os, pipeline.core.files\n",
    "with a backslash": "from pipeline.core import files, \\\n    locks\nimport os\n",
    "under a line of words that looks like one": '"""Text\nfrom the start, or\nimport (nothing).\n"""\nfrom pipeline.core import files\n',
    "under another name": "if True:\n\timport pipeline.core.files as f\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_import_is_found(form, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(FORMS[form], encoding="utf-8")
    assert "pipeline.core.files" in code._imports(path)
    assert ("pipeline.core.locks" in code._imports(path)) == ("locks" in FORMS[form])


def test_no_import_of_this_package_is_missed(monkeypatch):
    paths = sorted((code.ROOT / "pipeline").rglob("*.py"))
    found = [code._imports.__wrapped__(path) for path in paths]
    monkeypatch.setattr(code, "_statements", ast.parse)
    assert found == [code._imports.__wrapped__(path) for path in paths]
