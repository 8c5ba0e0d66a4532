"""Files are whole or not there, also on a disk that is full."""

import errno
import subprocess
import sys
from collections import namedtuple

import pytest

from pipeline.core import files
from pipeline.core.hdf5 import written
from tests.core.full import KINDS

LIMITS = (0, 50, 700, 2000, 5000, 11000, 17000, 10**7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing_and_no_crash(tmp_path, kind):
    target = tmp_path / "x"
    command = [sys.executable, "-m", "tests.core.full", kind, str(target), *map(str, LIMITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = [f"error: {target}: the file could not be written (File too large); free some disk and re-run", ""]
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [*refused * (len(LIMITS) - 1), "written", "x"]


def half(opened, wrong):
    with opened as part:
        if hasattr(part, "create_group"):
            part["half"] = 1
        else:
            part.write_text("half")
        raise wrong


@pytest.mark.parametrize("wrong", [ValueError("of the block"), OSError(errno.ENOSPC, "elsewhere", "/other")])
@pytest.mark.parametrize("way", [files.whole, written])
def test_an_error_of_the_block_is_told_as_it_is_and_leaves_the_old_file(tmp_path, way, wrong):
    files.write_json(tmp_path / "x", 1)
    with pytest.raises(type(wrong)) as caught:
        half(way(tmp_path / "x"), wrong)
    assert caught.value is wrong
    assert files.read_json(tmp_path / "x") == 1 and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_disk_known_to_be_too_small_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(free=999))
    with (
        pytest.raises(OSError, match=r"x\.h5 needs 2,000\.0 MB, the disk has 0\.0 MB free; make room") as caught,
        written(tmp_path / "x.h5", needed=2 * 10**9),
    ):
        pytest.fail("it began")
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
