"""All checks together, and the command: no trouble of a check is one of the doctor's."""

import json
import time

import pytest

from pipeline.rules.doctor import examine as whole
from pipeline.rules.doctor.line import Case, Line
from pipeline.stages import doctor
from tests.rules.doctor.conftest import TINY

HERE = Case(None)


def crash(_):
    yield Line("a", "fine", "so far")
    raise KeyError("gone")


def hang(_):
    time.sleep(30)
    yield Line("b", "fine", "late")


def good(_):
    yield Line("c", "fine", "right")


def test_a_check_that_crashes_or_hangs_is_a_line(capsys):
    start = time.monotonic()
    found = whole.examine(HERE, seconds=0.3, checks={"a": crash, "b": hang, "c": good})
    assert time.monotonic() - start < 1
    assert [(line.name, line.state) for line in found] == [("a", "fine"), ("a", "warning"), ("b", "warning"), ("c", "fine")]
    assert "this check failed itself (KeyError: 'gone')" in found[1].text and "no end of this check in 0.3 s" in found[2].text
    assert capsys.readouterr().err == ""


def test_a_library_that_is_broken_is_a_line(case, monkeypatch):
    def broken(_):
        raise OSError("libx.so: cannot open shared object file")

    monkeypatch.setattr(whole.folders.fcntl, "flock", broken)
    monkeypatch.setattr(whole.machine.gpus.importlib.util, "find_spec", broken)
    texts = [line.text for line in whole.examine(case("device=auto"), seconds=8)]
    assert sum("this check failed itself (OSError: libx.so" in text for text in texts) >= 1


def test_every_check_has_a_line_on_a_machine_that_is_right(case):
    found = whole.examine(case(), seconds=8)
    assert {line.name for line in found} >= {"locks", "links", "home", "disk", "git", "ffmpeg", "gpu", "shared memory", "memory"}
    assert not [line for line in found if line.state == "stop"]


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["doctor", *words])
    doctor.main()


@pytest.mark.usefixtures("programs")
def test_the_command_says_a_line_each(folder, monkeypatch, capsys):
    (folder / "params.yaml").write_text(TINY.read_text())
    run(monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fine     settings       4 methods on motion with 58 videos; clip-tiny, device: cpu"
    assert any(line.startswith("warning  git            there is no git here") for line in lines)


@pytest.mark.usefixtures("programs")
def test_files_are_looked_for_beside_the_settings_that_are_named(folder, monkeypatch, capsys):
    (folder / "there").mkdir()
    text = TINY.read_text().replace("datasets: [motion]", "datasets: [mine]")
    entry = "\ndatasets:\n  mine: {videos: clips, captions: captions.csv, words: 24, frames: {number: 4, size: 64}}\n"
    (folder / "there/params.yaml").write_text(text.replace("\ndatasets:\n", entry))
    (folder / "there/captions.csv").write_text("video,caption\na,one\nb,two\nc,three\n")
    (folder / "there/clips").mkdir()
    for name in "abc":
        (folder / f"there/clips/{name}.mp4").write_bytes(b"x")
    run(monkeypatch, "--params", str(folder / "there/params.yaml"))
    assert "on mine with 3 videos" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "there is no params.yaml"),
        ("run: ]", "params.yaml: line 1: this is no YAML: "),
        (TINY.read_text().replace("[motion]", "[nothing]"), "nothing"),
        (TINY.read_text().replace("  vop: {}", "  vop: {}\n  wop: {}"), "wop"),
        ("epochs: 3", "unknown key 'epochs'"),
    ],
)
def test_wrong_settings_are_one_line_and_the_rest_is_still_looked_at(folder, monkeypatch, capsys, text, sentence):
    if text:
        (folder / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match="certainly stop a run"):
        run(monkeypatch, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["stops"] >= 1 and found["lines"][0]["state"] == "stop" and found["lines"][0]["name"] == "settings"
    assert sentence in found["lines"][0]["text"]
    assert "locks" in {line["name"] for line in found["lines"]}


@pytest.mark.usefixtures("programs")
def test_what_stops_a_run_is_exit_code_1(folder, monkeypatch, capsys):
    (folder / "params.yaml").write_text(TINY.read_text().replace("device: cpu", "device: cuda"))
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch)
    assert ended.value.code == "error: 1 of these certainly stop a run"  # a text ends a process with code 1
    assert "wrong    gpu            device is cuda, but there is no GPU here" in capsys.readouterr().out
