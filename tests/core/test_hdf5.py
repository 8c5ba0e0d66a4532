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
