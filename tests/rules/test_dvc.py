"""Which command lines of DVC run a whole group of stages, and so may have it run at once."""

import pytest

from pipeline.rules.dvc import wanted


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ("python .venv/bin/dvc repro", True),
        ("dvc repro --force -v", True),
        ("dvc repro train", True),
        ("dvc repro evaluate train", True),
        ("dvc repro train@motion-vop-0", False),
        ("dvc repro report@motion", False),
        ("dvc exp run -S method=vop -n vop", True),
        ("dvc exp run --name vop train@motion-vop-0", False),
        ("dvc status", False),
        ("", False),
    ],
)
def test_a_group_is_run_ahead_only_where_all_of_it_is_asked_for(words, whole):
    assert wanted("train@motion-vop-0", words.split()) is whole
