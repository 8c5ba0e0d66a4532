"""A folder of small videos, a backbone with random weights, and adapters of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pandas as pd
import pytest
import torch

from pipeline.config.dataset import Clips
from pipeline.stages import index as stage
from pipeline.video.transcode import transcode
from tests.adapters.files import SHAPE, write_adapter, write_backbone

ROOT = Path(__file__).parents[2]
RUNS = {"zero_shot": {}, "vop": {}, "mv_adapter": {"middle": 32}, "full_finetune": {}, "cm_adapter": {"pooling": "query"}}
ENDINGS = ("mp4", "webm", "avi", "mkv", "mp4", "mp4", "mov")


def make_video(path, number=0, seconds=1.5):
    """Another picture for each number."""
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    size = f"{96 + 8 * (number % 3)}x72"
    filters = f"testsrc2=s={size}:r=8:d={seconds + 0.25 * (number % 4)},hue=h={47 * number},rotate={number}"
    words = ["-v", "error", "-y", "-f", "lavfi", "-i", filters, "-c:v", codec, "-pix_fmt", "yuv420p", "-threads", "1"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words, f"file:{path}"], check=True)
    return path


class World:
    """A folder as a user has it: weights, runs, `videos`, and indexes once they are made."""

    def __init__(self, home):
        self.home = Path(home)
        self.weights = self.home / "work/weights.safetensors"
        self.videos = self.home / "videos"
        self.indexes = self.home / "indexes"

    def adapter(self, run):
        return f"runs/toy/clip-tiny/{run}/0/adapter.safetensors"

    def words(self, *words, runs=("vop",), weights="work/weights.safetensors"):
        adapters = ["--adapter", *map(self.adapter, runs)] if runs else []
        return [*words, *adapters, "--backbone", "clip-tiny", "--weights", weights, "--device", "cpu"]

    def index(self, *words, **options):
        """Run the stage in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.home)
            patch.setattr(sys, "argv", ["index", *self.words(*(words or ("--folder", "videos")), **options)])
            stage.main()

    def copy(self, target):
        shutil.copytree(self.home, target, symlinks=True)
        return World(target)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Shared: tests that change something take a copy."""
    world = World(tmp_path_factory.mktemp("gallery"))
    world.weights.parent.mkdir()
    write_backbone(world.weights)
    for run, config in RUNS.items():
        path = world.home / world.adapter(run)
        path.parent.mkdir(parents=True)
        write_adapter(path, world.weights, run, config)
    (world.videos / "sub").mkdir(parents=True)
    for number, ending in enumerate(ENDINGS):
        make_video(world.videos / ("sub" if number % 2 else "") / f"video {number}.{ending}", number)
    return world


@pytest.fixture
def world(made, tmp_path):
    """Without an index."""
    return made.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def indexed(made, tmp_path_factory):
    """Shared: the folder under all adapters, with texts."""
    world = made.copy(tmp_path_factory.mktemp("indexed") / "home")
    (world.home / "texts.txt").write_text("a red star\n\na blue circle moves left\nthe green square spins\n")
    threads = torch.get_num_threads()
    world.index("--folder", "videos", "--texts", "texts.txt", runs=RUNS)
    torch.set_num_threads(threads)
    return world


@pytest.fixture(scope="session")
def dataset(made, tmp_path_factory):
    """Shared: a split of a dataset as the workflow leaves it, with two captions a video."""
    world = made.copy(tmp_path_factory.mktemp("dataset") / "home")
    clips, work = world.home / "data/toy/clips/000", world.home / "work/toy/test"
    clips.mkdir(parents=True)
    work.mkdir(parents=True)
    rows, captions = [], []
    for number, source in enumerate(sorted(path for path in world.videos.rglob("*") if path.is_file())):
        video = f"v{number}"
        row = transcode(source, clips / f"{video}.mp4", settings=Clips(**SHAPE["clips"]), start=0.5 if number == 2 else None)
        assert row["status"] == "ok", row["reason"]
        rows.append(
            row | {"video_id": video, "src_path": source.name, "start": 0.5 if number == 2 else None, "out_path": f"000/{video}.mp4"}
        )
        captions += [{"video_id": video, "caption_id": f"{video}#{order}", "text": f"caption {order} of {number}"} for order in range(2)]
    pd.DataFrame(rows).to_parquet(work / "videos.parquet")
    pd.DataFrame(captions).assign(directed=False, action="").to_parquet(work / "captions.parquet")
    return world


@pytest.fixture(autouse=True)
def _as_in_evaluation(one_thread):
    """Every test here."""
