"""The fuzzing itself: it runs, gives the same inputs again, and finds each kind of fault that is planted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import play as module
from tests.fuzz import targets
from tests.fuzz.play import Play, play

QUICK = ["captions", "pickle", "archive", "params"]


def test_a_few_inputs_of_quick_targets_find_nothing(tmp_path):
    words = [sys.executable, "-m", "tests.fuzz", "--inputs", "15", "--only", *QUICK, "--kept", tmp_path / "kept"]
    done = subprocess.run(words, cwd=module.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == QUICK
    assert all(int(line[1]) == 15 == int(line[2]) + int(line[3]) and line[4] == "0" for line in lines)
    assert not (tmp_path / "kept").exists()


def test_a_few_mutated_videos_find_nothing(tmp_path, monkeypatch):
    some = {name: targets.VIDEOS[name] for name in ("a.mkv", "a.ts", "a.webp")}
    monkeypatch.setattr(targets, "VIDEOS", some)
    count = play(["video"], home=tmp_path / "home", kept=tmp_path / "kept", seed=0, inputs=6)["video"]
    assert (count.inputs, count.taken + count.refused, count.first) == (6, 6, {})


@pytest.mark.parametrize("name", ["embeddings", "frames", "index", "adapter"])
def test_a_few_mutated_files_of_ours_find_nothing(tmp_path, name):
    count = play([name], home=tmp_path / "home", kept=tmp_path / "kept", seed=901, inputs=120)[name]
    assert (count.inputs, count.taken + count.refused, count.first) == (120, 120, {})


# What a reader does with a file that does not begin as a text of ours does, and what is said of it.
PLANTED = {
    "traceback": ("raise KeyError('planted')", "KeyError"),
    "library": ("b'\\xff'.decode()", "UnicodeDecodeError"),
    "silent": ("raise ValueError('')", "no sentence"),
    "nameless": ("raise ValueError('it is wrong')", "the file is not named"),
    "hang": ("time.sleep(60)", "a hang"),
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", f"a crash with {-signal.SIGSEGV}"),
    "left": ("(out / 'final').touch(); raise ValueError(f'{path} is wrong')", "left a file"),
    "temporary": ("open(os.path.join(os.environ['TMPDIR'], 'x'), 'w').close()", "left a temporary file"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_its_input_kept(tmp_path, monkeypatch, fault):
    statement, kind = PLANTED[fault]
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, signal, time\nfrom tests.fuzz import targets, worker\n"
        f"def read(path, out):\n    if path.read_bytes() != b'whole': {statement}\n    return ''\n"
        "targets.TARGETS['pickle'] = targets.Target(None, read)\nworker.main()\n"
    )
    popen = subprocess.Popen

    def planted(words, **how):
        return popen([sys.executable, str(worker), *words[3:]], **how | {"env": how["env"] | {"PYTHONPATH": str(module.ROOT)}})

    monkeypatch.setattr(module.subprocess, "Popen", planted)
    target = targets.Target(lambda folder: (folder / "a.pkl").write_bytes(b"whole") and None, None, limit=3.0 if fault == "hang" else 20.0)
    monkeypatch.setitem(targets.TARGETS, "pickle", target)
    begin = time.monotonic()
    count = play(["pickle"], home=tmp_path / "home", kept=tmp_path / "kept", seed=0, inputs=1)["pickle"]
    assert time.monotonic() - begin < 30
    (found,) = count.faults
    assert found.startswith(kind) and (count.inputs, count.taken, count.refused) == (1, 0, 0)
    kept = sorted(path.name for path in (tmp_path / "kept/pickle").iterdir())
    assert kept == ["0-a.pkl", "0-a.pkl.why"]


def test_a_seed_gives_the_same_inputs_again_and_another_one_others(tmp_path, monkeypatch):
    given = {}
    for run, seed in enumerate((1, 1, 2)):
        contents = given[run] = []

        def given_to(_, __, content, to=contents, **___):
            to.append(content)
            return {"what": "taken"}

        monkeypatch.setattr(Play, "_given", given_to)
        play(["pickle"], home=tmp_path / str(run), kept=tmp_path / "kept", seed=seed, inputs=20)
    assert given[0] == given[1] != given[2] and len(set(given[0])) > 10


def test_a_fault_is_exit_code_1(tmp_path, monkeypatch):
    from tests.fuzz import __main__ as command

    count = module.Count(inputs=1)
    count.faults["a hang"] += 1
    count.first["a hang"] = "no end within 20 seconds"
    monkeypatch.setattr(command, "play", lambda *_, **__: {"pickle": count})
    monkeypatch.setattr(sys, "argv", ["fuzz", "--kept", os.fspath(tmp_path / "kept")])
    assert command.main() == 1
    monkeypatch.setattr(command, "play", lambda *_, **__: {"pickle": module.Count(inputs=1, taken=1)})
    assert command.main() == 0
    assert Path(tmp_path / "kept").exists() is False
