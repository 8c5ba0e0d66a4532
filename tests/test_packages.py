"""The ranges of packages: what the lock pins is within them, and what is tested at the lower end is their lower end."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ENVS = Path(__file__).parents[1] / "envs"


def read(name):
    lines = (line.split("#")[0].strip() for line in (ENVS / name).read_text(encoding="utf-8").splitlines())
    return {found.name.lower().replace("_", "-"): found for found in map(Requirement, filter(None, lines))}


def pinned(name):
    return {package: Version(next(iter(found.specifier)).version) for package, found in read(name).items()}


def test_the_lowest_are_the_lower_ends():
    ranges = read("requirements.in")
    lower = {name: Version(part.version) for name, found in ranges.items() for part in found.specifier if part.operator == ">="}
    assert pinned("lowest.txt") == lower


@pytest.mark.parametrize("name", ["requirements.in", "requirements-dev.in"])
def test_the_lock_is_within_the_ranges(name):
    lock = pinned("requirements.txt")
    assert not [package for package, found in read(name).items() if lock[package] not in found.specifier]
