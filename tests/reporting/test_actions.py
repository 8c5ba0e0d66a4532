"""The probe by kind of action, in a table of its own."""

from pathlib import Path

from pipeline.reporting import actions
from pipeline.reporting.results import Result


def run(accuracy, **kinds):
    found = {name: {"accuracy": value, "captions": 4} for name, value in kinds.items()}
    probe = {"accuracy": accuracy, "captions": 9} | ({"actions": found} if kinds else {})
    return Result(Path("run"), {"probe": probe}, {}, {})


def test_a_row_has_the_mean_over_seeds_of_the_whole_and_of_each_kind():
    groups = {"vop": [run(50.0, moves=50.0, sizes=50.0)], "mv": [run(80.0, moves=70.0, sizes=90.0), run(81.0, moves=75.0, sizes=92.0)]}
    (found,) = actions.tables(groups)
    assert found.head == ["Method", "all (9)", "moves (4)", "sizes (4)"]
    assert found.rows == [["vop", "50.0", "50.0", "50.0"], ["mv", "80.5", "72.5", "91.0"]]


def test_without_kinds_or_without_a_probe_there_is_no_table():
    assert actions.tables({"vop": [run(50.0)]}) == []
    assert actions.tables({"vop": [Result(Path("run"), {"probe": None}, {}, {})]}) == []
    assert actions.tables({"vop": [run(50.0, moves=50.0)], "old": [run(60.0)]}) == [], "scored before kinds were told"
