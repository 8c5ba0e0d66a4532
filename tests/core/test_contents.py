"""New times on the same bytes change nothing; other bytes do, whatever times they have."""

import os
import shutil

import pytest

from pipeline.core import contents


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Two files in a folder `raw`, and `raw.sha256` that was written after them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw/videos").mkdir(parents=True)
    (tmp_path / "raw/videos/a.mp4").write_bytes(b"one")
    (tmp_path / "raw/list.json").write_bytes(b"two")
    (tmp_path / "raw" / contents.STAMP).touch()
    pin(tmp_path)
    return tmp_path / "raw"


def pin(folder):
    files = contents.below(folder / "raw")
    lines = [f"{total}  {path.relative_to(folder).as_posix()}\n" for total, path in zip(contents.hashes(files), files, strict=True)]
    (folder / "raw.sha256").write_text("".join(lines))
    later(folder / "raw.sha256")


def later(path, seconds=1):
    """So that no clock is too coarse."""
    now = path.stat().st_mtime + seconds
    os.utime(path, (now, now))


def settled(folder):
    return contents.settle((folder / "raw").relative_to(folder), (folder / "raw.sha256").relative_to(folder))


def newer(folder):
    """Whether Snakemake would find the folder newer than its checksums."""
    return (folder / "raw" / contents.STAMP).stat().st_mtime_ns > (folder / "raw.sha256").stat().st_mtime_ns


def test_new_times_on_everything_make_the_checksums_newer_and_the_next_look_reads_nothing(raw, monkeypatch):
    folder = raw.parent
    for path in (folder / "raw.sha256", *raw.rglob("*")):
        later(path, seconds=-100)
    later(raw / contents.STAMP, seconds=50)
    assert newer(folder)
    assert settled(folder) == [] and not newer(folder)
    monkeypatch.setattr(contents, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    later(folder / "raw.sha256")
    assert settled(folder) == []


def test_a_folder_older_than_its_checksums_is_older_than_the_benchmark_of_their_job(raw):
    os.utime(raw.parent / "raw.sha256")
    later(raw.parent / "raw.sha256")
    assert settled(raw.parent) == []
    assert (raw / contents.STAMP).stat().st_mtime_ns == contents.LONG_AGO


def test_a_copy_without_times_is_the_same(raw, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copyfile(raw.parent / "raw.sha256", copy / "raw.sha256")
    shutil.copytree(raw, copy / "raw", copy_function=shutil.copyfile)
    monkeypatch.chdir(copy)
    assert settled(copy) == [] and not newer(copy)


@pytest.mark.parametrize("kept", [False, True], ids=["new time", "old time"])
def test_other_bytes_make_the_folder_newer_even_under_their_old_time(raw, kept):
    video = raw / "videos/a.mp4"
    before = video.stat()
    os.utime(raw.parent / "raw.sha256")
    video.write_bytes(b"ONE")
    if kept:
        os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert settled(raw.parent) == ["raw/videos/a.mp4"] and newer(raw.parent)
    assert settled(raw.parent) == ["raw/videos/a.mp4"], "until the checksums are made again"
    pin(raw.parent)
    assert settled(raw.parent) == []


def test_a_file_more_and_a_file_less_are_told(raw):
    os.utime(raw.parent / "raw.sha256")
    (raw / "more.json").write_bytes(b"three")
    (raw / "list.json").unlink()
    assert settled(raw.parent) == ["raw/list.json", "raw/more.json"] and newer(raw.parent)


def test_what_is_not_there_tells_nothing(raw):
    shutil.rmtree(raw)
    assert settled(raw.parent) == []


def test_a_hash_is_kept_until_a_file_is_written(tmp_path, monkeypatch):
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        file.write_bytes(file.name.encode())
    first = contents.Known(tmp_path / "known.json").of(files)
    read = []
    monkeypatch.setattr(contents, "sha256", lambda path: read.append(path.name) or "new")
    assert contents.Known(tmp_path / "known.json").of(files) == first and read == []
    files[0].write_bytes(b"A")
    assert contents.Known(tmp_path / "known.json").of(files) == ["new", first[1]] and read == ["a"]
