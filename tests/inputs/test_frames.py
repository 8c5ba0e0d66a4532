import errno
import hashlib
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections import namedtuple
from types import SimpleNamespace

import h5py
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config.dataset import Clips, Frames
from pipeline.core import files, progress
from pipeline.core.hdf5 import attributes
from pipeline.inputs.frames import ClipStore, FrameStore, write_frames
from pipeline.stages import frames as stage
from pipeline.stages import guarded
from pipeline.video.sample import read_frames
from pipeline.video.transcode import transcode

SETTINGS = Frames(number=4, size=32, grid="centres")
ATTRS = {"dataset": "toy", "split": "test", "recipe": "0123456789ab"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips, of 9 frames and of 2."""
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for video_id, seconds in (("-long", 3), ("kürz", 0.5)):
        source, target = folder / "source.mp4", folder / f"{video_id}.mp4"
        make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=80x60:r=10:d={seconds}"]
        subprocess.run([*make, "-c:v", "libx264", "-preset", "ultrafast", source], check=True)
        transcode(source, target, settings=Clips(short_side=48))
        made.append((video_id, target))
    return made


@pytest.fixture
def written(clips, tmp_path):
    write_frames(tmp_path / "frames.h5", clips, settings=SETTINGS, attrs=ATTRS)
    return tmp_path / "frames.h5"


def test_the_file_holds_what_the_grid_chose(clips, written):
    with h5py.File(written) as file:
        assert file["index"][:].tolist() == [[1, 3, 5, 7], [0, 1, -1, -1]]
        assert file["mask"][:].tolist() == [[True] * 4, [True, True, False, False]]
        assert file["id"].asstr()[:].tolist() == ["-long", "kürz"]
        assert (file["frames"].chunks, file["frames"].dtype) == ((1, 4, 3, 32, 32), np.uint8)
        assert (file["index"].dtype, file["frames"].compression) == (np.int32, None)
        described = {"format": 2, "grid": "centres", "number": 4, "size": 32}
        assert attributes(file) == ATTRS | described
        np.testing.assert_array_equal(file["frames"][0], read_frames(clips[0][1], [1, 3, 5, 7], size=32))
        np.testing.assert_array_equal(file["frames"][1, :2], read_frames(clips[1][1], [0, 1], size=32))
        assert (file["frames"][1, 2:] == 0).all()


def test_two_writes_give_the_same_bytes(clips, written, tmp_path):
    time.sleep(1.1)  # dates in HDF5 count seconds
    write_frames(tmp_path / "again.h5", clips, settings=SETTINGS, attrs=ATTRS)
    first, second = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (written, tmp_path / "again.h5"))
    assert first == second
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.h5", "frames.h5"]


def test_a_store_gives_rows_in_the_order_asked_for(clips, written):
    with FrameStore(written) as frames:
        assert (len(frames), frames.num_frames, frames.size) == (2, 4, 32)
        assert frames.video_ids == ["-long", "kürz"]
        assert frames.attrs["split"] == "test"
        pictures, mask = frames.batch([1, 0, 1])
    assert (pictures.shape, pictures.dtype, mask.dtype) == ((3, 4, 3, 32, 32), torch.uint8, torch.bool)
    assert mask.tolist() == [[True, True, False, False], [True] * 4, [True, True, False, False]]
    np.testing.assert_array_equal(pictures[0], pictures[2])
    np.testing.assert_array_equal(pictures[1], read_frames(clips[0][1], [1, 3, 5, 7], size=32))


def test_an_empty_batch_is_empty(written):
    with FrameStore(written) as frames:
        pictures, mask = frames.batch([])
    assert (pictures.shape, mask.shape) == ((0, 4, 3, 32, 32), (0, 4))


@pytest.mark.parametrize("damage", ["text", "nothing", "cut", "half"])
def test_a_damaged_file_is_named_with_the_way_out(written, damage):
    whole = written.read_bytes()
    contents = {"text": b"no HDF5" * 99, "nothing": b"", "cut": whole[:-1000], "half": whole[: len(whole) // 2]}
    written.write_bytes(contents[damage])
    with pytest.raises(ValueError, match=r"frames\.h5 cannot be used: .*; delete it and re-run rule frames$"):
        FrameStore(written)


def test_a_file_without_a_part_is_damaged(written):
    with h5py.File(written, "r+") as file:
        del file["mask"]
    with pytest.raises(ValueError, match=r"frames\.h5 cannot be used: a part of it is missing"):
        FrameStore(written)


def test_another_format_is_refused(written):
    with h5py.File(written, "r+") as file:
        file.attrs["format"] = 1
    with pytest.raises(ValueError, match="its format is 1, not 2"):
        FrameStore(written)


def test_a_file_that_is_not_there_says_which_rule_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*frames\.h5; run rule frames"):
        FrameStore(tmp_path / "frames.h5")


def test_a_clip_that_does_not_decode_leaves_nothing(clips, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        write_frames(tmp_path / "out" / "frames.h5", [*clips, ("b", broken)], settings=SETTINGS, attrs=ATTRS)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_split_without_clips_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no clip to sample"):
        write_frames(tmp_path / "frames.h5", [], settings=SETTINGS, attrs=ATTRS)


def test_a_disk_known_to_be_too_small_is_refused_before_the_work(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(free=1000))
    with pytest.raises(OSError, match=r"frames\.h5 needs 0\.[0-9] MB") as caught:
        write_frames(tmp_path / "frames.h5", clips, settings=SETTINGS, attrs=ATTRS)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [100, 3000, 13000, 25500])
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(clips, tmp_path, capfd, limit):
    target = tmp_path / "frames.h5"

    def write():
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            guarded(lambda: write_frames(target, clips, settings=SETTINGS, attrs=ATTRS))
        finally:  # the sentence goes to a file too
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    # The limit is of a whole process, and a fork has torch already.
    child = multiprocessing.get_context("fork").Process(target=write)
    child.start()
    child.join()
    assert child.exitcode == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == f"error: {target}: the file could not be written (File too large); free some disk and re-run"
    assert list(tmp_path.iterdir()) == []


def test_progress_in_a_log_is_a_line_every_tenth_with_the_time_that_is_left(capsys, monkeypatch):
    clock = iter(range(0, 1000, 30))  # half a minute from line to line
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert list(progress.track(range(25), total=25, label="x")) == list(range(25))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["x: 3 of 25, 03:40 left", "x: 6 of 25, 03:10 left"]
    assert [line.split(",")[0] for line in lines] == [f"x: {n} of 25" for n in (3, 6, 9, 12, 15, 18, 21, 24, 25)]
    assert lines[-1] == "x: 25 of 25"


def listing(clips, *recipes):
    paths = {"video_id": [video_id for video_id, _ in clips], "out_path": [str(path) for _, path in clips]}
    return pd.DataFrame(paths | {"out_sha256": "", "recipe": recipes})


def run_stage(folder, table, monkeypatch):
    table.to_parquet(folder / "videos.parquet")
    places = ["--videos", folder / "videos.parquet", "--clips", folder, "--out", folder / "test" / "frames.h5"]
    settings = json.dumps({"number": 4, "size": 32, "grid": "xpool"})
    arguments = [*places, "--settings", settings, "--dataset", "toy", "--split", "test"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    stage.main()
    return folder / "test" / "frames.h5"


def test_the_stage_writes_the_split(clips, tmp_path, monkeypatch):
    table = listing(clips, "r", "r")
    with FrameStore(run_stage(tmp_path, table, monkeypatch)) as frames:
        assert frames.video_ids == ["-long", "kürz"]
        described = {"dataset": "toy", "split": "test", "recipe": "r", "grid": "xpool"}
        assert described.items() <= frames.attrs.items()
        assert frames.batch([1])[1].all()


def test_the_stage_refuses_clips_of_two_recipes(clips, tmp_path, monkeypatch):
    table = listing(clips, "r", "s")
    with pytest.raises(ValueError, match=r"2 recipes, r, s; re-run rule transcode"):
        run_stage(tmp_path, table, monkeypatch)


def test_clips_decoded_when_asked_for_give_the_tensors_of_the_stored_frames(clips, written, tmp_path):
    listing(clips, "r", "r").to_parquet(tmp_path / "videos.parquet")
    decoded, stored = ClipStore(tmp_path / "videos.parquet", tmp_path, settings=SETTINGS), FrameStore(written)
    assert (decoded.video_ids, decoded.num_frames, len(decoded)) == (stored.video_ids, stored.num_frames, 2)
    for rows in ([0, 1], [1], [1, 0, 1], []):
        assert all(torch.equal(a, b) for a, b in zip(decoded.batch(rows), stored.batch(rows), strict=True))
