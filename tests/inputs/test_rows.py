"""Files of rows are read by row, by many processes, and what is damaged is named."""

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest

from pipeline.inputs.rows import Rows
from tests.inputs.rows import IDS, values, written


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "x.h5")


def opened(path):
    return Rows(path, rule="features")


def flip(path, name, row):
    """Change one bit in the chunk of a row."""
    with h5py.File(path) as source:
        data = source[name]
        chunk = data.id.get_chunk_info_by_coord((row, *[0] * (data.ndim - 1)))
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("rows", [[3, 0, 24, 3], [], [7]])
def test_rows_come_in_the_order_asked_for(file, rows):
    with opened(file) as found:
        np.testing.assert_array_equal(found.read("tokens", rows), values(np.array(rows, int))["tokens"])
        assert (found.ids, len(found), found.attrs["number"]) == (IDS, 25, 3)


def test_a_small_column_is_read_whole(file):
    with opened(file) as found:
        np.testing.assert_array_equal(found.column("mask", shape=(3,)), values(np.arange(25))["mask"])
        with pytest.raises(ValueError, match=r"x\.h5 cannot be used: a part of it is missing: 'mask' is \(25, 3\), not \(25, 4\)"):
            found.column("mask", shape=(4,))
        with pytest.raises(ValueError, match="'heads' is None"):
            found.expect("heads", shape=())


def test_a_flipped_bit_of_a_row_is_found_when_the_row_is_read_and_named(file):
    flip(file, "tokens", 4)
    with opened(file) as found:
        np.testing.assert_array_equal(found.read("tokens", [3, 5]), values([3, 5])["tokens"])
        with pytest.raises(
            ValueError, match=r"x\.h5 cannot be used: the tokens of 'vidéo 4' are damaged.*delete it and re-run rule features$"
        ):
            found.read("tokens", [3, 4])


@pytest.mark.parametrize(("name", "sentence"), [("mask", "its 'mask' cannot be read"), ("id", "no complete HDF5 file, or a part of it")])
def test_a_flipped_bit_of_a_small_column_is_found(file, name, sentence):
    flip(file, name, 0)
    with pytest.raises(ValueError, match=rf"x\.h5 cannot be used: .*{sentence}.*re-run rule features"), opened(file) as found:
        found.column("mask", shape=(3,))


@pytest.mark.parametrize("damage", ["text", "nothing", "cut", "half"])
def test_a_damaged_file_is_named_with_the_way_out(file, damage):
    whole = file.read_bytes()
    file.write_bytes({"text": b"no HDF5" * 99, "nothing": b"", "cut": whole[:-300], "half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(ValueError, match=r"x\.h5 cannot be used: .*; delete it and re-run rule features$"):
        opened(file)


def test_a_file_that_is_not_there_or_of_another_format_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*y\.h5; run rule features"):
        opened(tmp_path / "y.h5")
    with h5py.File(file, "r+") as source:
        source.attrs["format"] = 1
    with pytest.raises(ValueError, match="its format is 1, not 2"):
        opened(file)


def check(found, seed):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        rows = rng.integers(0, 25, 4)
        np.testing.assert_array_equal(found.read("tokens", rows), values(rows)["tokens"])


def test_processes_that_fork_after_the_parent_has_read_read_beside_it(file):
    with opened(file) as found:
        check(found, 0)
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=check, args=(found, seed)) for seed in range(1, 5)]
        for child in children:
            child.start()
        check(found, 5)
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * 4


def test_an_open_file_can_be_sent_to_another_process(file):
    with opened(file) as found:
        found.read("tokens", [0])
        check(pickle.loads(pickle.dumps(found)), 0)
