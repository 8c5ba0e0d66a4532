"""Annotation files are found by name and read strictly."""

import json
import zipfile

import pytest

from pipeline.core import textfile
from pipeline.datasets.annotations import reading


def test_a_file_is_found_below_the_folder_and_the_first_name_wins(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "two.json").write_text("2")
    assert reading.find(tmp_path, "one.json", "two.json") == tmp_path / "a/b/two.json"
    (tmp_path / "one.json").write_text("1")
    assert reading.find(tmp_path, "one.json", "two.json") == tmp_path / "one.json"
    assert reading.find(tmp_path, "three.json") is None


def test_two_files_of_one_name_must_be_equal(tmp_path):
    for folder, text in (("a", "1"), ("b", "1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.json").write_text(text)
    assert reading.find(tmp_path, "x.json") == tmp_path / "a/x.json"
    (tmp_path / "b" / "x.json").write_text("2")
    with pytest.raises(ValueError, match="holds different files x.json"):
        reading.find(tmp_path, "x.json")


def test_a_zip_must_hold_one_json(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps([1]))
    assert reading.json_file(path) == [1]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.json", "[]")
    with pytest.raises(ValueError, match=r"holds 2 files \*.json; one is expected"):
        reading.json_file(path)


def test_a_damaged_zip_is_named(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps(list(range(1000))))
    data = bytearray(path.read_bytes())
    data[100:110] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="x.zip"):
        reading.json_file(path)


def test_a_json_bomb_in_a_zip_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(textfile, "MOST", 1000)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", "[" + " " * 5000 + "]")
    with pytest.raises(ValueError, match="a.json is larger than 1000 bytes"):
        reading.json_file(path)
