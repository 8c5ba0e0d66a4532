"""Rule index as a process: what it refuses, kills at any moment, two at once, and the way of a new user."""

import fcntl
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from pipeline.search import build
from pipeline.search.index import Gallery
from pipeline.stages import guarded
from tests.adapters.files import write_adapter
from tests.search.conftest import ROOT, make_video

FORK = multiprocessing.get_context("fork")


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


class Started:
    """The stage in a fork of this process, which has torch already: a new Python would be killed in its imports nearly always."""

    def __init__(self, world, *words):
        self.said = world.home / "said.txt"
        self.child = FORK.Process(target=self._run, args=(world, words))
        self.child.start()

    def _run(self, world, words):
        with self.said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1, closefd=False), os.fdopen(2, "w", 1, closefd=False)
        # One video a batch, so that there are many moments to be killed at.
        build.cut = lambda rows: [rows[i : i + 1] for i in range(len(rows))]
        guarded(lambda: world.index(*words))

    def ended(self, *, seconds=300):
        """Whether it has ended by then."""
        self.child.join(seconds)
        return self.child.exitcode is not None

    def kill(self):
        """Its ffmpeg goes on."""
        self.child.kill()
        self.child.join()


def run(home, *words):
    return subprocess.run([sys.executable, "-m", *words], cwd=home, env=environment(), capture_output=True, text=True, check=False)


def names(world):
    """The videos of the index, each of whose vectors is read; None without an index."""
    path = world.indexes / "videos/clip-tiny/vop/0/index.h5"
    if not path.exists():
        return None
    gallery = Gallery.open(path)
    assert all(gallery.encoded(row).frames.any() and gallery.clip(row).is_file() for row in range(len(gallery)))
    found = set(gallery.videos["video_id"])
    gallery.close()
    return found


def finished(world):
    process = Started(world, "--folder", "videos")
    assert process.ended() and process.child.exitcode == 0, process.said.read_text()


def clips(world):
    """Those that are finished, and when they were."""
    folder = world.indexes / "videos/clips"
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.mp4") if path.with_suffix(".json").exists()}


def test_killed_at_any_moment_it_leaves_the_old_index_or_the_new_one_and_goes_on(world):
    start = time.monotonic()
    finished(world)
    whole = time.monotonic() - start
    shutil.rmtree(world.indexes)
    generator, before, there, kills = random.Random(0), None, {}, 0
    for number in range(9):
        after = {path.relative_to(world.videos).as_posix() for path in world.videos.rglob("*.*")}
        process, start = Started(world, "--folder", "videos"), time.monotonic()
        if process.ended(seconds=generator.uniform(0.1, 1) * whole):
            whole = min(whole, time.monotonic() - start)  # the machine may have had other work before
        else:
            process.kill()
            kills += 1
        found = names(world)
        assert found in (before, after)
        assert {path: time for path, time in clips(world).items() if path in there}.items() <= there.items()
        before, there = found, clips(world)
        if found == after:
            make_video(world.videos / f"more {number}.mp4", 10 + number)
            next(path for path in sorted(world.videos.rglob("*.*"))).unlink()
    assert kills >= 3
    finished(world)
    assert names(world) == {path.relative_to(world.videos).as_posix() for path in world.videos.rglob("*.*")}
    left = {path.name for path in (world.indexes / "videos/clip-tiny/vop/0").iterdir()}
    assert left == {"index.h5", "made.json"}
    assert not list((world.indexes / "videos/clips").glob(".making*"))
    assert len(clips(world)) == len(names(world))


def test_a_killed_first_build_transcodes_nothing_again(world):
    process = Started(world, "--folder", "videos")
    while not process.ended(seconds=0.01) and len(clips(world)) < 3:
        pass
    process.kill()
    before = clips(world)
    assert len(before) >= 3
    finished(world)
    assert before.items() <= clips(world).items()


def test_two_at_once_wait_for_each_other_and_say_so(world):
    folder = world.indexes / "videos"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = Started(world, "--folder", "videos")
        while not process.ended(seconds=0.01) and "another process updates" not in (said := process.said.read_text()):
            pass
        assert said.splitlines()[-1] == "another process updates gallery videos; waiting for its end"
        assert names(world) is None
        fcntl.flock(held, fcntl.LOCK_UN)  # the fork has the open file too
    assert process.ended() and process.child.exitcode == 0, process.said.read_text()
    assert len(names(world)) == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to index: --dataset NAME or --folder FOLDER"),
        (["--dataset", "toy", "--folder", "videos"], "say what to index"),
        (["--dataset", "toy", "--texts", "x.txt"], "--texts goes with --folder"),
        (["--dataset", "nothing"], "there is no .*work/nothing/test/videos.parquet; make it with snakemake --cores all"),
        (["--folder", "nothing"], "there is no folder 'nothing'"),
        (["--folder", "videos", "--name", "../x"], "the gallery '../x' cannot be a folder's name"),
        (["--folder", "videos", "--adapter", "texts.txt"], "texts.txt is not an adapter checkpoint"),
        (["--folder", "videos/sub", "--name", "videos"], "gallery 'videos' is of videos; give --name for videos/sub, or delete"),
        (["--dataset", "toy", "--name", "videos"], "gallery 'videos' is of videos; give --name for toy/test, or delete"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(indexed, words, message, tmp_path):
    own = indexed.copy(tmp_path / "home")
    with pytest.raises((ValueError, SystemExit), match=message):
        own.index(*words, runs=() if "--adapter" in words else ("vop",)) if words else own.index("--device", "cpu")
    assert len(names(own)) == 7


def test_two_adapters_with_one_name_are_refused(world):
    shutil.copy(world.home / world.adapter("vop"), world.home / "other.safetensors")
    with pytest.raises(ValueError, match="two adapters would have the index .*vop/0/index.h5; index them under two names"):
        world.index("--folder", "videos", "--adapter", world.adapter("vop"), "other.safetensors", runs=())


def test_names_in_a_header_cannot_leave_the_folder(world):
    write_adapter(world.home / "evil.safetensors", world.weights, "vop")
    content = (world.home / "evil.safetensors").read_bytes()
    (world.home / "evil.safetensors").write_bytes(content.replace(b'\\"run\\": \\"vop\\"', b'\\"run\\": \\"vop@/../../x\\"', 1))
    with pytest.raises(ValueError, match="not an adapter checkpoint|cannot be a folder's name|unknown method"):
        world.index("--folder", "videos", "--adapter", "evil.safetensors", runs=())


def test_from_a_folder_to_the_first_answer_in_two_commands_with_progress(made, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(made.home / "work", home / "work")
    shutil.copytree(made.videos, home / "my videos")
    (home / "my videos/broken.mp4").write_text("no video")
    (home / "params.yaml").write_text((ROOT / "tests/workflow/params.yaml").read_text().replace("work/clip-tiny/", "work/"))
    first = run(home, "pipeline.stages.index", "--folder", "my videos")
    assert first.returncode == 0, first.stderr
    assert "transcode: 8 of 8" in first.stderr and "encode for zero_shot: 7 of 7" in first.stderr
    assert "7 videos (7 encoded, 0 kept)" in first.stdout and "'broken.mp4': the file is not a readable video file" in first.stdout
    second = run(home, "pipeline.stages.search", "a red star moves up", "--json")
    assert second.returncode == 0, second.stderr
    (answer,) = json.loads(second.stdout)["indexes"]
    assert answer["index"] == "my-videos/clip-tiny/zero_shot/0" and len(answer["hits"]) == 7 and answer["skipped"] == 1
    assert all((home / hit["file"]).is_file() and Path(hit["clip"]).is_file() for hit in answer["hits"])


def test_a_dataset_with_an_adapter_by_processes(dataset, tmp_path):
    own = dataset.copy(tmp_path / "home")
    done = run(own.home, "pipeline.stages.index", *own.words("--dataset", "toy"))
    assert done.returncode == 0, done.stderr
    with h5py.File(own.indexes / "toy/clip-tiny/vop/0/index.h5") as file:
        about = json.loads(bytes(file["about"][:]))
    assert (about["adapter"], about["root"]) == (own.adapter("vop"), "data/toy/clips")
    assert about["backbone"] == {"name": "clip-tiny", "weights": "work/weights.safetensors"}
    moved = tmp_path / "moved"
    own.home.rename(moved)
    found = run(moved, "pipeline.stages.search", "caption 1 of 3")
    assert found.returncode == 0 and "toy/clip-tiny/vop/0: 7 videos" in found.stdout
