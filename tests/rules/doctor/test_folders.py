"""Locks, links, DVC's cache, the user's folders: each sentence, and when it is not said."""

import errno
import os
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.rules.doctor import folders
from pipeline.rules.doctor.line import Case

HERE = Case(None)
Usage = namedtuple("Usage", "total used free")


def test_locks_that_work_are_said_with_their_folders_and_leave_nothing(folder, said):
    (folder / "data").mkdir()
    assert said(folders.locks, HERE) == [("fine", "file locks work in . (one file system)")]
    assert [path.name for path in folder.iterdir()] == ["data"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_goes_on_by_leases(folder, said, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    [(state, text)] = said(folders.locks, HERE)
    assert state == "warning" and errno.errorcode[number] in text and "lease files" in text and str(folder) in text


def test_a_lock_that_keeps_nobody_out_is_none(said, monkeypatch):
    monkeypatch.setattr(folders.fcntl, "flock", lambda *_: None)
    [(state, text)] = said(folders.locks, HERE)
    assert state == "warning" and "gives a lock twice" in text


def test_each_file_system_is_tried_where_a_folder_is_a_link(folder, said, monkeypatch, other_disk):
    (folder / "work").symlink_to(other_disk)
    flock = folders.fcntl.flock

    def refuse_there(file, flags):
        if Path(file.name).parent.name == "work":
            raise OSError(errno.ENOSYS, "no locks")
        flock(file, flags)

    monkeypatch.setattr(folders.fcntl, "flock", refuse_there)
    found = said(folders.locks, HERE)
    assert ("fine", "file locks work in .") in found
    assert any(state == "warning" and str(other_disk) in text for state, text in found)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_stops(folder, said, monkeypatch, number):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folders.tempfile, "NamedTemporaryFile", refuse)
    [(state, text)] = said(folders.locks, HERE)
    assert state == "stop" and f"{folder} cannot be written ({os.strerror(number)})" in text


@pytest.fixture
def other_disk():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        if Path(made).stat().st_dev == Path().stat().st_dev:
            pytest.skip("/dev/shm is no file system of its own here")
        yield Path(made)


def test_links_are_named_with_where_they_lead(folder, tmp_path, said):
    assert said(folders.links, HERE) == [("fine", "data, work, runs, indexes are no links")]
    (tmp_path / "scratch").mkdir()
    (folder / "data").symlink_to(tmp_path / "scratch")
    assert said(folders.links, HERE) == [("fine", f"data -> {tmp_path / 'scratch'}")]


def test_a_link_that_leads_nowhere_and_a_file_stop(folder, tmp_path, said):
    (folder / "data").symlink_to(tmp_path / "gone")
    (folder / "indexes").write_text("")
    found = said(folders.links, HERE, "stop")
    assert found[0] == f"data is a link to {tmp_path / 'gone'}, which is not there; mkdir -p {tmp_path / 'gone'}, or remove the link"
    assert "indexes is a file" in found[1]


def dvc(folder, text, name="config"):
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc" / name).write_text(text)


def test_without_dvc_its_cache_is_no_matter(said):
    assert said(folders.cache, HERE) == []


def test_hard_links_into_the_cache_are_tried(folder, said, monkeypatch):
    dvc(folder, '[core]\n    analytics = false\n[cache]\n    type = "hardlink,copy"\n')
    assert said(folders.cache, HERE) == [("fine", "DVC links files from .dvc/cache (hardlink)")]

    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(folders.os, "link", refuse)
    [(state, text)] = said(folders.cache, HERE)
    assert state == "warning" and "copies from .dvc/cache into data and runs" in text and "dvc cache dir" in text
    monkeypatch.setattr(folders.fcntl, "ioctl", lambda *_: 0)
    assert "dvc config --local cache.type reflink,copy" in said(folders.cache, HERE, "warning")[0]


def test_a_cache_on_another_disk_is_copied_from_unless_links_may_be_symbolic(folder, said, other_disk):
    dvc(folder, "[cache]\n    type = hardlink,copy\n")
    dvc(folder, f"[cache]\n    dir = {other_disk}\n", "config.local")
    [text] = said(folders.cache, HERE, "warning")
    assert str(other_disk) in text and "twice the disk" in text
    dvc(folder, f"[cache]\n    dir = {other_disk}\n    type = symlink\n", "config.local")
    assert said(folders.cache, HERE, "fine") == [f"DVC links files from {other_disk} (symlink)"]


def test_only_runs_on_another_disk_are_named(folder, said, other_disk):
    dvc(folder, "[cache]\n    type = hardlink,copy\n")
    (folder / "runs").symlink_to(other_disk)
    assert "into runs, which" in said(folders.cache, HERE, "warning")[0]


def test_a_home_that_cannot_be_written_needs_another_cache(said, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nohome")
    [text] = said(folders.home, HERE, "warning")
    assert "/proc/nohome/.cache cannot be written" in text and "export XDG_CACHE_HOME=" in text
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not/yet"))
    assert said(folders.home, HERE, "warning") == [] and f"caches go to {tmp_path / 'not/yet'}" in said(folders.home, HERE, "fine")


def test_temporary_files_need_a_place_and_room(said, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    assert said(folders.home, HERE, "warning") == [
        f"TMPDIR is {tmp_path / 'gone'}, which cannot be written; mkdir -p {tmp_path / 'gone'}, or unset TMPDIR"
    ]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: Usage(0, 0, 5e6))
    [text] = said(folders.home, HERE, "warning")
    assert text.startswith(f"{tmp_path} has 5.0 MB free for temporary files")
