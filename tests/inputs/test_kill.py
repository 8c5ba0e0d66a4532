"""Writers of frames and of tokens killed at random moments: what is under the final name is whole, and the end is the same."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import threading
import time

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from pipeline.config.dataset import Clips, Frames
from pipeline.inputs import features
from pipeline.inputs import writer as cache
from pipeline.inputs.frames import FrameStore, write_frames
from pipeline.video.transcode import transcode
from tests.conftest import small_clip

FORK = multiprocessing.get_context("fork")
SETTINGS = Frames(number=4, size=32)
KILLS = 20


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Forty videos of two clips."""
    folder = tmp_path_factory.mktemp("clips")
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=80x60:r=10:d=3"]
    subprocess.run([*make, "-c:v", "libx264", "-preset", "ultrafast", folder / "source.mp4"], check=True)
    for name, side in (("0.mp4", 48), ("1.mp4", 64)):
        transcode(folder / "source.mp4", folder / name, settings=Clips(short_side=side))
    return [(f"video {row}", folder / f"{row % 2}.mp4") for row in range(40)]


@pytest.fixture(params=["frames", "features"])
def job(request, clips, tmp_path_factory, monkeypatch):
    """(write to a file, rows of all shards but the last): three rows a shard, slowed down so that kills hit every phase of it."""
    folder = tmp_path_factory.mktemp("job")
    write_frames(folder / "frames.h5", clips, settings=SETTINGS, attrs={"recipe": "r"})
    clip = small_clip()
    row = 4 * 3 * 32 * 32 if request.param == "frames" else 4 * 5 * 32 * 2
    monkeypatch.setattr(cache, "SHARD", 3 * row)
    monkeypatch.setattr(features, "MOST", 3)
    add, lay_out = cache.Writer.add, cache._lay_out

    def slowly(self, rows):
        time.sleep(0.004)
        add(self, rows)
        time.sleep(0.004)

    def laid_out_slowly(part, *arguments, **options):
        lay_out(part, *arguments, **options)
        time.sleep(0.03)

    monkeypatch.setattr(cache.Writer, "add", slowly)
    monkeypatch.setattr(cache, "_lay_out", laid_out_slowly)

    def frames(target):
        write_frames(target, clips, settings=SETTINGS, attrs={"recipe": "r"})

    def tokens(target):
        torch.set_num_threads(1)
        source = FrameStore(folder / "frames.h5")
        features.write_videos(target, source, clip=clip, level=2, dtype="float16", attrs={"dataset": "toy"})

    return frames if request.param == "frames" else tokens


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_twenty_kills_at_random_moments_change_nothing_and_show_nothing_half(job, tmp_path):
    whole, target = tmp_path / "whole.h5", tmp_path / "x.h5"
    start = time.perf_counter()
    child = FORK.Process(target=job, args=(whole,))
    child.start()
    child.join()
    assert child.exitcode == 0
    needed, expected = time.perf_counter() - start, sha(whole)
    seen, over = set(), threading.Event()

    def watch():
        while not over.is_set():
            try:
                seen.add(sha(target))
            except FileNotFoundError:
                seen.add("nothing")
            time.sleep(0.001)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    rng, kills, halfway, continued = np.random.default_rng(5), 0, 0, 0
    while kills < KILLS:
        part, mark = tmp_path / ".x.h5.part", tmp_path / ".x.h5.done"
        continued += mark.exists() and '"rows": 0' not in mark.read_text()
        child = FORK.Process(target=job, args=(target,))
        child.start()
        child.join(rng.uniform(0.02, 0.5 * needed))
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == -signal.SIGKILL:  # it may have ended just before
            kills, halfway = kills + 1, halfway + part.exists()
        else:
            assert child.exitcode == 0
        if target.exists():
            assert sha(target) == expected
            target.unlink()  # once more from the start
    job(target)
    over.set()
    watcher.join()
    assert sha(target) == expected
    assert seen <= {"nothing", expected}
    assert halfway >= KILLS / 4 and continued >= KILLS / 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.h5", "x.h5"]
