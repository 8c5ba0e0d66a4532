"""HDF5 files are read and written without locks, and one that the system does not open is not called broken."""

import errno
import subprocess
import sys

import h5py
import numpy as np
import pytest

from pipeline.core import hdf5
from pipeline.evaluation import embeddings
from pipeline.inputs.rows import Rows
from pipeline.search.reader import Reader
from tests.fuzz.targets import index_files
from tests.inputs.rows import writer, written
from tests.refusing import CODES, refusing

MADE = embeddings.Embeddings(
    **{name: np.eye(3, dtype=np.float32) for name in ("video", "text", "twin", "mask")},
    **{name: np.arange(3) for name in ("video_of_text", "twin_of", "directed")},
    video_id=["a", "b", "c"],
    caption_id=["1", "2", "3"],
)
READ = """
import sys
from pathlib import Path
from pipeline.evaluation import embeddings
from pipeline.inputs.rows import Rows
from tests.inputs.rows import written
from tests.core.test_hdf5 import MADE

folder = Path(sys.argv[1])
found = []
for read in (lambda: embeddings.load(folder / "e.h5")[0].video_id[1], lambda: Rows(folder / "rows.h5", rule="frames").ids[1]):
    try:
        found.append(read())
    except ValueError as error:
        found.append(str(error))
embeddings.save(folder / "e2.h5", MADE, attributes={"run": "x"})
written(folder / "rows2.h5")
print(*found, sep="\\n")
"""


@pytest.fixture
def files(tmp_path):
    embeddings.save(tmp_path / "e.h5", MADE, attributes={"run": "x"})
    written(tmp_path / "rows.h5")
    return tmp_path


@pytest.mark.parametrize("asked", ["", "TRUE"])
@pytest.mark.parametrize("code", CODES)
def test_files_are_whole_where_locks_are_refused(files, code, asked):
    environment = refusing(files, code) | {"HDF5_USE_FILE_LOCKING": asked}
    done = subprocess.run([sys.executable, "-c", READ, str(files)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()[-2:]
    if asked:
        for line, name in zip(found, ("e.h5", "rows.h5"), strict=True):
            assert line.startswith(f"{files / name} could not be opened (")
            assert line.endswith("unset HDF5_USE_FILE_LOCKING, which asks for locks")
    else:
        assert found == ["b", "vidéo 1"]
    assert (files / "e2.h5").read_bytes() == (files / "e.h5").read_bytes()
    assert (files / "rows2.h5").read_bytes() == (files / "rows.h5").read_bytes()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOLCK])
def test_what_the_system_refuses_is_not_called_broken(files, monkeypatch, code):
    part = writer(files / "part.h5")
    part._close()

    def refused(*_, **__):
        raise OSError(code, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", refused)
    for read in (
        lambda: embeddings.load(files / "e.h5"),
        lambda: Rows(files / "rows.h5", rule="frames"),
        lambda: Reader(files / "rows.h5"),
        lambda: writer(files / "part.h5"),
    ):
        with pytest.raises(hdf5.Refused, match=r"\.(h5|part) could not be opened \([A-Z].*\); see to that, and start again$"):
            read()
    assert part.part.exists()


def rows_of(path):
    with Rows(path, rule="frames") as found:
        return found.ids, found.attrs, found.column("mask", shape=(3,)).tolist()


def vectors_of(path):
    found, attributes = embeddings.load(path)
    return found.video.tolist(), found.video_id, attributes


@pytest.fixture
def every(files):
    """A file of each kind: embeddings, rows, an index."""
    index_files(files)
    return [files / name for name in ("e.h5", "rows.h5", "index.h5")]


def test_each_part_of_a_file_has_a_checksum_and_is_as_long_as_the_file_says(every):
    for path in every:
        assert path.read_bytes()[8] == 3, "the first layout in which all that says where arrays lie has one"
        with h5py.File(path) as file:
            arrays = []
            file.visititems(lambda _, found, arrays=arrays: arrays.append(found) if isinstance(found, h5py.Dataset) else None)
            assert len(arrays) > 2 and all(found.fletcher32 for found in arrays)
            kinds = [found.dtype for found in arrays] + [file.attrs.get_id(name).dtype for name in file.attrs]
            assert not any(kind.hasobject for kind in kinds), "a text of any length lies in a heap without a checksum"


HARM = """
import sys
from pathlib import Path
from tests.core import test_hdf5 as this

path = Path(sys.argv[1])
whole, read = path.read_bytes(), getattr(this, sys.argv[2])
wanted, refused = read(path), 0
for place in range(0, len(whole), int(sys.argv[3])):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    try:
        found = read(path)
    except ValueError as error:
        refused += 1
        assert str(path) in str(error), error
    else:
        assert found == wanted, place
print(refused)
"""


@pytest.mark.parametrize(("name", "read", "step"), [("e.h5", "vectors_of", 5), ("rows.h5", "rows_of", 7)])
def test_a_wrong_byte_anywhere_is_a_sentence_or_changes_nothing(files, name, read, step):
    # In a process of its own, which may crash or never end.
    words = [sys.executable, "-c", HARM, files / name, read, str(step)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_files_of_the_layout_before_are_read(files, tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for name in embeddings.ARRAYS:
            file[name] = getattr(MADE, name)
        for name in ("video_id", "caption_id"):
            file[name] = np.array(getattr(MADE, name), h5py.string_dtype())
        file.attrs.update({"run": "x", "seed": 3, "temperature": 0.5})
    found, attributes = embeddings.load(tmp_path / "old.h5")
    assert (found.video_id, found.temperature, attributes) == (["a", "b", "c"], 0.5, {"run": "x", "seed": 3})
    np.testing.assert_array_equal(found.video, MADE.video)
    with h5py.File(files / "rows.h5") as new, h5py.File(tmp_path / "old-rows.h5", "w") as file:
        for name in ("id", "mask", "tokens"):
            file.create_dataset(name, data=new[name][:], dtype=new[name].dtype, chunks=True)
        file.attrs.update({"format": 2, "dataset": "toy", "number": 3})
    assert rows_of(tmp_path / "old-rows.h5") == rows_of(files / "rows.h5")
