"""The five benchmarks at their true size without their videos: `python -m benchmarks.scale`.

Plan: `snakemake -n` on all of them with 25 methods and 3 seeds, in an empty folder: seconds, peak memory, jobs. Stand-ins: 10,000 files
under MSR-VTT's names, hard links of a few real encodings, and made-up annotations of its size, through the commands of the rules annotate,
transcode (one shard) and frames (of that shard): seconds each, on this machine. Ratios to other ways are in `benchmarks.video`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import pandas as pd

from pipeline import methods
from pipeline.config import resolve
from pipeline.config.dataset import Clips, Dataset, Frames
from pipeline.config.schema import Params
from pipeline.config.settings import text
from pipeline.core.code import ROOT
from pipeline.stages import guarded

DATASETS = ("MSR-VTT", "MSVD", "LSMDC", "DiDeMo", "ActivityNet")
CLIPS = 10_000
TRAIN, VALIDATION, TEST = 6513, 497, 2990  # of MSR-VTT
SOURCES = (("320x240", 11), ("320x240", 17), ("480x360", 15), ("320x180", 24))  # pixels and seconds of the stand-ins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("plan", "stand-ins"), help="one of the two")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "stand-ins":
            plan(Path(folder, "plan"))
        if args.only != "plan":
            stand_ins(Path(folder, "stand-ins"))


def plan(folder: Path) -> None:
    """Print what a dry run of everything takes."""
    folder.mkdir()
    names = methods.names()
    listed = "\n".join(f"  {name}: {{}}" for name in names)
    (folder / "params.yaml").write_text(
        f"run: {{datasets: [{', '.join(DATASETS)}], methods: [{', '.join(names)}], seeds: [0, 1, 2]}}\n"
        f"backbone: {{name: ViT-B-32-quickgelu, weights: openai}}\nmethods:\n{listed}\n",
        encoding="utf-8",
    )
    command = ["snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder), "-n", "-q", "reason"]
    seconds, said = _timed(command, folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rows = [line.split() for line in said.splitlines()]
    jobs = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    print(f"plan: {len(DATASETS)} datasets, {len(names)} methods, 3 seeds: {seconds:.1f} s, {peak / 1e9:.2f} GB at the peak")
    print("      " + ", ".join(f"{name} {number}" for name, number in jobs.items()))


def stand_ins(folder: Path) -> None:
    """Print what the stages take on 10,000 files."""
    videos, raw = folder / "videos", folder / "raw"
    for place in (videos, raw):
        place.mkdir(parents=True)
    _make_videos(videos)
    _make_annotations(raw)
    settings = Dataset(videos=str(videos), annotations=str(raw), variant="full", clips=Clips(shard=200), frames=Frames())
    tables = {name: folder / f"{name}.parquet" for name in ("videos", "captions")}
    annotated = resolve.annotate(Params(datasets={"msrvtt": settings}), "msrvtt")
    options = [
        "--dataset=msrvtt",
        f"--settings={text(annotated)}",
        f"--raw={raw}",
        f"--root={videos}",
    ]
    written = [f"--{name}={path}" for name, path in tables.items()] + [f"--about={folder / 'about.json'}"]
    seconds, _ = _timed(_stage("annotate", *options, *written), folder)
    print(f"annotate: {CLIPS} videos, {20 * CLIPS} captions: {seconds:.1f} s")
    shards = CLIPS // 200
    options = ["--dataset=msrvtt", f"--videos={tables['videos']}", f"--raw={videos}", "--shard=0"]
    written = [
        f"--settings={text(settings.clips)}",
        f"--clips={folder / 'clips/000'}",
        f"--report={folder / '000.parquet'}",
        f"--kept={folder / 'kept'}",
    ]
    seconds, _ = _timed(_stage("transcode", *options, *written), folder)
    print(f"transcode: one shard of 200 on one core: {seconds:.1f} s; {shards} of them are {seconds * shards / 3600:.1f} core hours")
    report = pd.read_parquet(folder / "000.parquet")
    report[report["status"] == "ok"].to_parquet(folder / "split.parquet")
    options = ["--dataset=msrvtt", "--split=train", f"--videos={folder / 'split.parquet'}", f"--clips={folder / 'clips'}"]
    written = [f"--settings={text(settings.frames)}", f"--out={folder / 'frames.h5'}"]
    seconds, _ = _timed(_stage("frames", *options, *written), folder)
    size = (folder / "frames.h5").stat().st_size
    print(f"frames: 12 of 224 pixels of each of 200 clips: {seconds:.1f} s, {size / 1e6:.0f} MB")


def _make_videos(folder: Path) -> None:
    made = []
    for number, (size, seconds) in enumerate(SOURCES):
        made.append(folder.parent / f"source{number}.mp4")
        source = f"testsrc2=s={size}:r=25:d={seconds},noise=alls=12:allf=t"
        sound = ("-f", "lavfi", "-i", f"sine=d={seconds}", "-c:a", "aac")
        video = ("-c:v", "libx264", "-preset", "veryfast", "-g", "250", "-pix_fmt", "yuv420p")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, *sound, *video, str(made[-1])]
        subprocess.run(command, check=True)
    for number in range(CLIPS):
        os.link(made[number % len(made)], folder / f"video{number}.mp4")


def _make_annotations(folder: Path) -> None:
    """MSR-VTT's merged file with sentences of nobody's."""
    split = ["train"] * TRAIN + ["validate"] * VALIDATION + ["test"] * TEST
    videos = [
        {"video_id": f"video{n}", "split": split[n], "url": f"https://example.org/{n}", "start time": 0.0, "end time": 11.0}
        for n in range(CLIPS)
    ]
    rows = [{"video_id": f"video{n}", "caption": f"thing {n} does {k}", "sen_id": 20 * n + k} for n in range(CLIPS) for k in range(20)]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": rows}), encoding="utf-8")


def _stage(name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", f"pipeline.stages.{name}", *options]


def _timed(command: Sequence[str], folder: Path) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{command[:4]} failed in {folder}: {(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - start, done.stdout + done.stderr


if __name__ == "__main__":
    guarded(main)
