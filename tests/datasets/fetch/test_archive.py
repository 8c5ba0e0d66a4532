"""Archives from strangers: what is wanted arrives, and nothing that they try reaches beyond the folder."""

import bz2
import errno
import gzip
import io
import os
import random
import stat
import struct
import tarfile
import zipfile
from collections import namedtuple
from pathlib import PurePosixPath

import pytest

from pipeline.datasets.fetch import archive as module
from pipeline.datasets.fetch.archive import Limits, is_tar, unpack

FILES = {"set/a.txt": b"alpha", "set/deep/b.txt": b"beta" * 1000, "readme": b"no"}
TARS = ("tar", "tar.gz", "tar.bz2", "tar.xz")


def keep(name):
    return name


def texts(name):
    return PurePosixPath(name).name if name.lower().endswith(".txt") else None


def make_zip(path, files, *, compression=zipfile.ZIP_DEFLATED):
    """`files`: names or ZipInfos -> content."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def make_tar(path, files):
    """`files`: names or TarInfos -> content."""
    with tarfile.open(path, "w:" + path.suffix[1:].replace("tar", "")) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def make(folder, form, files):
    path = folder / f"some.{form}"
    return make_zip(path, files) if form == "zip" else make_tar(path, files)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refuses(error, match, path, *, wanted=keep, **options):
    """Nothing changes, not in the folder and not beside it."""
    around = path.parent
    before = tree(around)
    with pytest.raises(error, match=match) as caught:
        unpack(path, around / "out", wanted=wanted, **options)
    assert tree(around) == before
    return caught.value


@pytest.mark.parametrize("form", ["zip", *TARS])
def test_what_is_wanted_arrives_under_the_names_asked_for(tmp_path, form):
    path = make(tmp_path, form, FILES).rename(tmp_path / "without-a-suffix")
    assert unpack(path, tmp_path / "new" / "out", wanted=texts) == ["a.txt", "b.txt"]
    assert (tmp_path / "new" / "out" / "a.txt").read_bytes() == b"alpha"
    assert tree(tmp_path / "new") == ["out", "out/a.txt", "out/b.txt"]
    assert unpack(path, tmp_path / "all", wanted=keep) == ["readme", "set/a.txt", "set/deep/b.txt"]
    assert (tmp_path / "all" / "set" / "deep" / "b.txt").read_bytes() == b"beta" * 1000
    assert is_tar(path) == (form != "zip")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_folder_that_is_there_keeps_its_files(tmp_path, form):
    path = make(tmp_path, form, FILES)
    (tmp_path / "out" / "set").mkdir(parents=True)
    (tmp_path / "out" / "set" / "mine").write_bytes(b"mine")
    unpack(path, tmp_path / "out", wanted=keep)
    assert tree(tmp_path / "out") == ["readme", "set", "set/a.txt", "set/deep", "set/deep/b.txt", "set/mine"]
    refuses(ValueError, r"out/\S+ is there already; delete it", path)
    assert tree(tmp_path) == sorted([path.name, "out", *(f"out/{name}" for name in tree(tmp_path / "out"))])


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", {"evil": b"x"}).read_bytes()
    assert unpack(make_tar(tmp_path / "x.tar", {"inner.zip": inner}), tmp_path / "out", wanted=keep) == ["inner.zip"]


def test_modes_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("run")
    info.mode = 0o4777
    unpack(make_tar(tmp_path / "x.tar", {info: b"x"}), tmp_path / "out", wanted=keep)
    assert not (tmp_path / "out" / "run").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


UNSAFE = ["../evil", "a/../../evil", "a/..", "/evil", "C:evil", "c:/evil", "a\\..\\evil", "\\evil"]


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_leads_out_refuses_the_archive_even_if_it_is_not_wanted(tmp_path, form, name):
    (tmp_path / "box").mkdir()
    path = make(tmp_path / "box", form, {"a.txt": b"x", name: b"evil"})
    for wanted in (keep, texts):
        said = str(refuses(ValueError, "would not stay in the folder", path, wanted=wanted))
        assert repr(name) in said
    assert tree(tmp_path) == ["box", f"box/{path.name}"]


def test_a_name_with_a_nul_refuses_the_archive(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a.txtXevil": b"x"})
    path.write_bytes(path.read_bytes().replace(b"a.txtXevil", b"a.txt\0evil"))
    refuses(ValueError, r"'a\.txt\\x00evil' would not stay", path)
    info = tarfile.TarInfo("a")
    info.pax_headers = {"path": "a.txt\0evil"}
    refuses(ValueError, r"'a\.txt\\x00evil' would not stay", make_tar(tmp_path / "x.tar", {info: b"x"}))


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("answer", [*UNSAFE, "", ".", "nul\0"])
def test_the_name_to_write_to_is_checked_as_well(tmp_path, form, answer):
    refuses(ValueError, "is not unpacked", make(tmp_path, form, FILES), wanted=lambda name: answer if name == "readme" else None)


def special(kind):
    info = tarfile.TarInfo("set/odd")
    info.type, info.linkname = kind, "../../../etc/passwd"
    return info


@pytest.mark.parametrize(
    ("kind", "called"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.FIFOTYPE, "a device or a pipe"),
        (tarfile.CHRTYPE, "a device or a pipe"),
        (tarfile.BLKTYPE, "a device or a pipe"),
    ],
)
def test_what_is_no_file_in_a_tar_is_refused_if_it_is_wanted(tmp_path, kind, called):
    path = make_tar(tmp_path / "x.tar", {"a.txt": b"x", special(kind): b""})
    refuses(ValueError, f"its member 'set/odd' is {called}", path)
    assert unpack(path, tmp_path / "out", wanted=texts) == ["a.txt"]


@pytest.mark.parametrize(("mode", "called"), [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a device or a pipe")])
def test_what_is_no_file_in_a_zip_is_refused_if_it_is_wanted(tmp_path, mode, called):
    info = zipfile.ZipInfo("odd")
    info.external_attr = (mode | 0o777) << 16
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x", info: b"/etc/passwd"})
    refuses(ValueError, f"its member 'odd' is {called}", path)
    assert unpack(path, tmp_path / "out", wanted=texts) == ["a.txt"]


def patched(path, *, at, value):
    """Change two bytes `at` an offset in each record of the table of contents of a zip."""
    data = bytearray(path.read_bytes())
    place = -1
    while (place := data.find(b"PK\1\2", place + 1)) >= 0:
        struct.pack_into("<H", data, place + at, value)
    path.write_bytes(data)
    return path


def test_a_member_before_the_beginning_of_the_file_is_damage_that_names_the_archive(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    # The table of contents is larger than the file before it, so the beginning of the archive lies before that of the file.
    struct.pack_into("<I", data, len(data) - 6, len(data) + 100)
    path.write_bytes(data)
    refuses(ValueError, "x.zip is damaged at 'a'", path)


def test_an_error_that_quotes_the_archive_is_cut(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": bytes(9000)}, compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 26, 8000)  # the length of the name before the content
    path.write_bytes(data)
    assert len(str(refuses(ValueError, "x.zip is damaged at 'a'", path))) < 500


def test_an_encrypted_member_is_refused_by_name(tmp_path):
    refuses(ValueError, "its member 'a' is encrypted", patched(make_zip(tmp_path / "x.zip", {"a": b"x"}), at=8, value=1))


def test_a_compression_that_python_does_not_know_is_named_with_its_member(tmp_path):
    path = patched(make_zip(tmp_path / "x.zip", {"a": b"x"}), at=10, value=99)
    refuses(ValueError, "damaged at 'a' .*compression", path)


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize(("one", "two"), [("x/a.txt", "y/a.txt"), ("x/a.txt", "x/A.TXT"), ("x/\u00e9.txt", "x/e\u0301.txt")])
def test_two_members_for_one_file_are_refused_by_both_names(tmp_path, form, one, two):
    path = make(tmp_path, form, {one: b"1", two: b"2"})
    said = str(refuses(ValueError, "would be one file", path, wanted=texts))
    assert repr(one) in said and repr(two) in said


def test_the_same_member_twice_is_refused(tmp_path):
    refuses(ValueError, "would be one file", make_tar(tmp_path / "x.tar", {"a": b"1", tarfile.TarInfo("a"): b"2"}))


@pytest.mark.parametrize("names", [("a", "a/b/c"), ("a/b/c", "A")])
def test_a_file_that_is_also_a_folder_is_refused_by_both_names(tmp_path, names):
    said = str(refuses(ValueError, "would be a file and the folder of", make(tmp_path, "tar", dict.fromkeys(names, b"x"))))
    assert all(repr(name) in said for name in names)


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "set").symlink_to(tmp_path / "elsewhere")
    path = make(tmp_path, "zip", FILES)
    refuses(ValueError, "out/set is not a folder", path)
    (tmp_path / "out" / "set").unlink()
    (tmp_path / "out" / "readme").symlink_to(tmp_path / "elsewhere" / "new")
    refuses(ValueError, "out/readme is there already", path)
    assert tree(tmp_path / "elsewhere") == []


def test_a_link_to_the_folder_itself_is_the_user_s_own(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    unpack(make(tmp_path, "zip", FILES), tmp_path / "out", wanted=texts)
    assert tree(tmp_path / "disk") == ["a.txt", "b.txt"]


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_more_bytes_than_the_limit_are_refused_before_they_are_written(tmp_path, form, monkeypatch):
    monkeypatch.setattr(module, "_write", None)
    refuses(ValueError, "more than the limit of 4004", make(tmp_path, form, FILES), limits=Limits(bytes=4004))


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_bomb_is_refused_by_what_it_would_become(tmp_path, form):
    path = make(tmp_path, form, {"zero": bytes(12_000_000)})
    refuses(ValueError, f"is not unpacked: {path.stat().st_size} bytes would become more than the limit of 10000000", path)
    assert unpack(path, tmp_path / "out", wanted=keep, limits=Limits(ratio=1e6)) == ["zero"]


def test_a_bomb_in_what_is_not_wanted_is_not_unrolled(tmp_path):
    refuses(ValueError, "would become more than", make(tmp_path, "tar.gz", {"a.txt": b"x", "zero": bytes(12_000_000)}), wanted=texts)


def test_a_bomb_is_not_unrolled_to_see_what_comes_after_it(tmp_path):
    """Nothing does: who looks finds a damaged archive instead."""
    info = tarfile.TarInfo("zero")
    info.size = 10**10
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(10_000)))
    refuses(ValueError, "would become more than", tmp_path / "x.tar.gz", wanted=texts)


def test_a_bomb_behind_the_end_of_a_tar_is_not_unrolled(tmp_path):
    make_tar(tmp_path / "x.tar", {"a": b"x"})
    with bz2.open(tmp_path / "x.tar.bz2", "wb") as file:
        file.write((tmp_path / "x.tar").read_bytes() + bytes(12_000_000))
    refuses(ValueError, "would become more than", tmp_path / "x.tar.bz2")


def test_bytes_are_counted_as_they_are_written(tmp_path, monkeypatch):
    """Whatever a member declares."""
    monkeypatch.setattr(module, "_chunks", lambda *_: iter([bytes(1000)] * 11))
    path = make(tmp_path, "tar", {"a": b"x"})
    refuses(ValueError, "more than the limit of 10000", path, limits=Limits(bytes=10_000))
    refuses(ValueError, r"damaged at 'a' \(not the size it declares\)", path, limits=Limits(bytes=11_000))


def test_a_zip_that_declares_too_little_is_damaged(tmp_path):
    path = patched(make_zip(tmp_path / "x.zip", {"a": b"x" * 500}), at=24, value=5)
    refuses(ValueError, "damaged at 'a'", path)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_too_many_members_are_refused(tmp_path, form):
    path = make(tmp_path, form, FILES)
    refuses(ValueError, "more than 2 members", path, limits=Limits(members=2))
    unpack(path, tmp_path / "out", wanted=keep, limits=Limits(members=3))


def test_a_flipped_bit_in_a_zip_names_the_member(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"good": b"x", "bad": b"hello world"}, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hellO world"))
    refuses(ValueError, r"x\.zip is damaged at 'bad' \(Bad CRC-32.*; delete it and fetch it again", path)


@pytest.mark.parametrize("form", ["zip", *TARS])
def test_an_archive_that_is_cut_short_anywhere_is_refused(tmp_path, form):
    noise = random.Random(0).randbytes(3000)
    whole = make(tmp_path, form, {"a": noise, "b": noise[::-1], "c": b""}).read_bytes()
    # The end of a tar is two blocks of zeros or more; one of them says enough.
    last = tarfile.BLOCKSIZE * 16 if form == "tar" else len(whole) - 1
    for length in [0, 1, 300, 512, 600, 2000, 3584, 4000, len(whole) // 2, *(() if form == "tar" else (last,))]:
        path = tmp_path / f"cut.{form}"
        path.write_bytes(whole[:length])
        refuses(ValueError, rf"cut\.{form} is (damaged|neither)", path)


def test_a_tar_with_a_broken_header_in_the_middle_does_not_end_there(tmp_path):
    path = make_tar(tmp_path / "x.tar", {"a": b"x", "bbbb": b"y", "c": b"z"})
    path.write_bytes(path.read_bytes().replace(b"bbbb", b"bbbc"))
    refuses(ValueError, "damaged", path)


@pytest.mark.parametrize("form", ["tar.gz", "tar.bz2"])
def test_a_flipped_bit_in_a_compressed_tar_is_found(tmp_path, form):
    path = make(tmp_path, form, {"a": random.Random(0).randbytes(5000)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refuses(ValueError, "damaged|neither", path)


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<html>")
    refuses(ValueError, r"x\.zip is neither a zip nor a tar", tmp_path / "x.zip")
    refuses(FileNotFoundError, "x.tar", tmp_path / "x.tar")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_nothing_wanted_is_an_error(tmp_path, form):
    refuses(ValueError, "holds nothing that is wanted among its 3 members", make(tmp_path, form, FILES), wanted=lambda _: None)


def test_a_disk_known_to_be_too_small_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: namedtuple("usage", "free")(free=4006))
    path = make(tmp_path, "zip", FILES)
    assert refuses(OSError, r"some\.zip needs 0\.0 MB, the disk has 0\.0 MB free", path).errno == errno.ENOSPC


def test_a_disk_that_fills_up_leaves_nothing_and_is_not_the_archive_s_fault(tmp_path, monkeypatch):
    path = make(tmp_path, "zip", FILES)
    opened = module.Path.open

    def full(self, mode="r", **options):
        if self.name == "b.txt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, **options)

    monkeypatch.setattr(module.Path, "open", full)
    assert refuses(OSError, "No space", path).errno == errno.ENOSPC


def test_a_disk_that_cannot_be_read_is_not_the_archive_s_fault(tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.zipfile.ZipExtFile, "read", failing)
    refuses(OSError, "Input/output error", make(tmp_path, "zip", FILES))


@pytest.mark.parametrize("there", [False, True])
def test_a_move_that_fails_is_taken_back(tmp_path, monkeypatch, there):
    path = make(tmp_path, "tar", FILES)
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_bytes(b"mine")
    replace, left = os.replace, [2 if there else 0]

    def failing(source, target):
        if not left[0]:
            raise OSError(errno.EIO, "Input/output error")
        left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", failing)
    refuses(OSError, "Input/output", path)


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "old").write_bytes(b"old")
    unpack(make(tmp_path, "zip", FILES), tmp_path / "out", wanted=texts)
    assert tree(tmp_path) == ["out", "out/a.txt", "out/b.txt", "some.zip"]


def test_an_error_of_the_caller_stays_its_own(tmp_path):
    def broken(_):
        raise RuntimeError("mine")

    refuses(RuntimeError, "^mine$", make(tmp_path, "zip", FILES), wanted=broken)
