"""Files of rows are written whole or not at all, and go on after the last shard that was noted."""

import errno
import subprocess
import sys
from collections import namedtuple

import h5py
import numpy as np
import pytest

from pipeline.core import files
from pipeline.core.hdf5 import attributes
from pipeline.inputs import writer as module
from pipeline.inputs.writer import Column, write
from tests.inputs.rows import ATTRS, COLUMNS, IDS, batches, values, writer, written


@pytest.fixture
def shards(monkeypatch):
    """A note every ten rows."""
    monkeypatch.setattr(module, "SHARD", 10 * sum(column.row_bytes for column in COLUMNS.values()))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def break_off(target, *, after):
    """The files of a writer that is killed after so many rows: nothing of it runs any more."""
    made = writer(target)
    for batch in batches(made.done, stop=after):
        made.add(batch)
    made._close()
    return made


def test_a_row_is_a_chunk_with_a_checksum_and_nothing_is_compressed(tmp_path):
    with h5py.File(written(tmp_path / "x.h5")) as file:
        assert (file["tokens"].chunks, file["mask"].chunks) == ((1, 3, 4), (25, 3))
        assert all(file[name].fletcher32 and file[name].compression is None for name in ("tokens", "mask", "id"))
        assert file["id"].asstr()[:].tolist() == IDS
        assert attributes(file) == ATTRS | {"format": 2}
        for name, expected in values(np.arange(25)).items():
            np.testing.assert_array_equal(file[name][:], expected)
    assert names(tmp_path) == ["x.h5"]


def test_equal_rows_are_equal_bytes(tmp_path):
    assert written(tmp_path / "x.h5").read_bytes() == written(tmp_path / "y.h5").read_bytes()


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize("after", [5, 10, 15, 20, 25])
def test_a_writer_that_was_killed_goes_on_from_its_last_shard_to_the_same_bytes(tmp_path, after):
    whole = written(tmp_path / "whole.h5").read_bytes()
    break_off(tmp_path / "x.h5", after=after)
    assert not (tmp_path / "x.h5").exists()
    again = writer(tmp_path / "x.h5")
    assert again.done == after // 10 * 10
    write(again, batches(again.done), label="toy")
    assert (tmp_path / "x.h5").read_bytes() == whole
    assert names(tmp_path) == ["whole.h5", "x.h5"]


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize(
    "other",
    [
        {"ids": [*IDS[:-1], "another"]},
        {"attrs": {**ATTRS, "number": 4}},
        {"columns": {**COLUMNS, "tokens": Column((3, 4), "f4")}},
        {"made_from": ("b",)},
    ],
)
def test_rows_of_another_plan_are_not_gone_on_with(tmp_path, other):
    break_off(tmp_path / "x.h5", after=20)
    assert writer(tmp_path / "x.h5", **other).done == 0


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize("note", [None, "", "{}", "[]", '{"plan": 1, "rows": 10}'])
def test_without_a_readable_note_the_writer_starts_anew(tmp_path, note):
    mark = break_off(tmp_path / "x.h5", after=20).mark
    mark.unlink() if note is None else mark.write_text(note)
    assert writer(tmp_path / "x.h5").done == 0


@pytest.mark.usefixtures("shards")
def test_an_error_takes_the_part_with_it_and_an_interrupt_leaves_it(tmp_path):
    def broken(kind):
        yield from batches(0, stop=10)
        raise kind

    for kind, left in ((ValueError, []), (KeyboardInterrupt, [".x.h5.done", ".x.h5.part"])):
        with pytest.raises(kind):
            write(writer(tmp_path / "x.h5"), broken(kind), label="toy")
        assert names(tmp_path) == left


def test_a_row_that_is_missing_at_the_end_is_our_own_mistake(tmp_path):
    with pytest.raises(AssertionError, match="20 of 25 rows"):
        write(writer(tmp_path / "x.h5"), batches(0, stop=20), label="toy")
    assert names(tmp_path) == []


def test_a_disk_known_to_be_too_small_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(free=100))
    with pytest.raises(OSError, match=r"x\.h5 needs 0\.0 MB") as caught:
        writer(tmp_path / "x.h5")
    assert caught.value.errno == errno.ENOSPC and names(tmp_path) == []


@pytest.mark.parametrize("limit", [50, 1500, 2000, 2500])
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(tmp_path, limit):
    target = tmp_path / "x.h5"
    program = f"""
import resource
from pathlib import Path
from pipeline.stages import guarded
from tests.inputs.rows import written
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
guarded(lambda: written(Path({str(target)!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: {target}: the file could not be written (File too large); free some disk and re-run"
    assert names(tmp_path) == []
