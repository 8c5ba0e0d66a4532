import os
from pathlib import Path

import pytest

VARIABLE = "PETL_VTR_ANNOTATIONS"
BESIDE = Path(__file__).parents[3] / "shared" / "annotations"


@pytest.fixture(scope="session")
def authentic():
    """A folder with the publishers' annotation files, one folder a dataset; licences forbid to keep them here."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            pytest.fail(f"{VARIABLE} is {named!r}, which is no folder")
        return Path(named)
    if BESIDE.is_dir():
        return BESIDE
    return pytest.skip(
        f"NO TEST OF THE PUBLISHERS' ANNOTATIONS WAS RUN: there is no folder {BESIDE}; put msrvtt/, msvd/, didemo/ and activitynet/ "
        f"there, or set {VARIABLE} to a folder that has them"
    )
