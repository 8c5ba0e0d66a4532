"""Gain and cost of storing frozen blocks' output: the same result, the time of an epoch, the cost of writing, the wait for data, bytes.

Random weights, noise for videos, one epoch of `--steps` steps of training/loop.py, each method from frames and from its deepest store,
in one process: `python -m benchmarks.caches`. With the defaults (ViT-B/32, 12 frames) it takes about half an hour on two cores and
3 GB of disk; `--backbone clip-tiny --frames 12 --batch 32` takes two minutes. Nothing else should run. `--memory` measures something else:
the peak of processes that write and read files of few and of many rows.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pandas as pd
import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build, forward
from pipeline.config.dataset import Frames
from pipeline.config.schema import Train
from pipeline.config.settings import Sampling
from pipeline.core.files import write_json
from pipeline.evaluation.embed import embed
from pipeline.inputs import features, frozen
from pipeline.inputs.frames import FrameStore
from pipeline.inputs.rows import Rows
from pipeline.inputs.split import Files, Split, open_split
from pipeline.inputs.writer import Column, Writer, write
from pipeline.runtime import device
from pipeline.runtime.loader import Stream
from pipeline.stages import guarded
from pipeline.training.loop import train
from pipeline.training.step import Step

# Four blocks, where the backbone has so many.
RUNS: dict[str, dict[str, Any]] = {"partial": {}, "proj": {}, "cached_head": {}, "mv_adapter": {"last_blocks": 4, "cmt_layers": 2}}
CPU = torch.device("cpu")
VAL = 8  # videos


def main() -> None:
    args = _arguments()
    if args.one:
        print(_one(args.one, args.rows))
        return
    if args.memory:
        memory(args)
        return
    device.prepare(CPU, threads=args.threads, seed=0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        bench = Bench(args, Path(folder))
        found = {"writing": bench.writing(), "runs": bench.runs(), "waiting": bench.waiting(), "bytes": bench.sizes()}
    if args.json:
        write_json(args.json, vars(args) | {"json": None, "folder": None, "torch": torch.__version__} | found)


class Bench:
    """A dataset of noise, and what is stored of it."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        torch.manual_seed(0)
        self.model = build(args.backbone)
        clip = self.clip()
        self.shape = Sampling(words=args.words, frames=Frames(number=args.frames, size=clip.image_size))
        self.ids = {"train": self._ids("t", args.batch * args.steps), "val": self._ids("v", VAL)}
        for split, ids in self.ids.items():
            captions = [f"video number {video} of a {split} split" for video in ids]
            table = {"video_id": ids, "caption_id": ids, "text": captions, "directed": False}
            (folder / split).mkdir()
            pd.DataFrame(table).to_parquet(folder / split / "captions.parquet")
            _noise(folder / split / "frames.h5", ids, number=args.frames, size=clip.image_size)
        self._clips()

    def _ids(self, letter: str, number: int) -> list[str]:
        return [f"{letter}{row:06d}" for row in range(number)]

    def _clips(self) -> None:
        """Sixteen clips of ten seconds, each listed under many names."""
        make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i"]
        for number in range(16):
            scene = f"testsrc2=s=298x224:r=3:d=10,hue=h={20 * number},noise=alls=20:allf=t"
            subprocess.run([*make, scene, "-c:v", "libx264", "-g", "3", "-pix_fmt", "yuv420p", self.folder / f"{number}.mp4"], check=True)
        for split, ids in self.ids.items():
            paths = [f"{row % 16}.mp4" for row in range(len(ids))]
            table = {"video_id": ids, "out_path": paths, "out_sha256": "", "recipe": "noise"}
            pd.DataFrame(table).to_parquet(self.folder / split / "videos.parquet")

    def clip(self) -> FrozenClip:
        return FrozenClip(self.model, name=self.args.backbone)

    def attached(self, name: str) -> FrozenClip:
        torch.manual_seed(1)
        config = dict(RUNS[name])
        clip = self.clip()
        if config:
            config["last_blocks"] = min(config["last_blocks"], clip.vision.top - 1)
        return methods.attach(clip, methods.load(name, config=config), shape=methods.Shape(self.args.frames, self.args.words))

    def store(self, split: str, tower: str, level: int, dtype: str, *, clip: FrozenClip) -> Path:
        """The file of tokens, written unless it is there."""
        target = self.folder / split / dtype / f"{tower}@{level}.h5"
        if target.exists():
            return target
        shared: dict[str, Any] = {"clip": clip, "level": level, "dtype": dtype, "attrs": {"dataset": "noise", "split": split}}
        if tower == "vision":
            features.write_videos(target, FrameStore(self.folder / split / "frames.h5"), **shared)
        else:
            captions = pd.read_parquet(self.folder / split / "captions.parquet")
            texts, names = captions["text"].tolist(), captions["caption_id"].tolist()
            features.write_texts(target, texts, caption_ids=names, num_words=self.args.words, **shared)
        return target

    def prepared(self, name: str) -> int:
        """Write what a method may read, by plain CLIP; the level of its videos."""
        clip = self.attached(name)
        reach = frozen.reaches(clip)
        clip.detach_all()
        for split in ("train", "val"):
            for dtype in ("float32", "float16"):
                for tower in ("vision", "text"):
                    self.store(split, tower, reach[tower].level, dtype, clip=clip)
        return reach["vision"].level

    def split(self, split: str, clip: FrozenClip, source: str) -> Split:
        """`source`: frames, clips, or the type of a store that is as deep as what is attached allows."""
        folder = self.folder / split
        videos, text = {"frames": folder / "frames.h5", "clips": folder / "videos.parquet"}.get(source), None
        if videos is None:
            reach = frozen.reaches(clip)
            videos, text = (folder / source / f"{tower}@{reach[tower].level}.h5" for tower in ("vision", "text"))
        return open_split(Files(videos, folder / "captions.parquet", text, self.folder), clip=clip, shape=self.shape)

    def trained(self, name: str, source: str, *, workers: int = 0) -> dict[str, Any]:
        """One epoch: its line, the loss of every step, and the embeddings of the validation split after it."""
        clip, losses = self.attached(name), list[float]()
        data = self.split("train", clip, source), self.split("val", clip, source)
        settings = Train(epochs=1, batch=self.args.batch, lr=1e-3, clip_lr=1e-5)
        state = self.folder / "state.pt"
        with _EveryLoss(losses):
            _, progress = train(
                clip, data, settings=settings, seed=0, device=CPU, state=state, fingerprint="x", report=lambda _: None, workers=workers
            )
        state.unlink()
        made = embed(clip, data[1], device=CPU)
        clip.detach_all()
        return progress.epochs[0] | {"losses": losses, "video": made.video, "text": made.text}

    def runs(self) -> list[dict[str, Any]]:
        """Each method from frames, from float32 and from float16: time, and how far the results are apart."""
        _title("one epoch of each method", "seconds from frames", "from float16", "times faster")
        _title("", "largest difference of a loss, and of an embedding:", "float32", "float16")
        rows = []
        for name in RUNS:
            level = self.prepared(name)
            found = {source: self.trained(name, source) for source in ("frames", "float32", "float16", "frames")}
            seconds = {source: one["seconds"] for source, one in found.items()}
            row: dict[str, Any] = {"run": name, "level": level, "seconds": seconds, "faster": seconds["frames"] / seconds["float16"]}
            for source in ("float32", "float16"):
                row[source] = {"loss": _apart(found, source, "losses")} | {k: _apart(found, source, k) for k in ("video", "text")}
            rows.append(row)
            print(
                f"{name} from vision@{level}: {seconds['frames']:.2f} s, {seconds['float16']:.3f} s, {row['faster']:.2f} times", flush=True
            )
            print("  " + "; ".join(f"{s} {row[s]['loss']:.2g}, {row[s]['video']:.2g}" for s in ("float32", "float16")), flush=True)
        return rows

    def writing(self) -> dict[str, float]:
        """Seconds of the pure forward pass of the training videos, and of the same with writing, for half and for all of the blocks."""
        clip, found = self.clip(), dict[str, float]()
        source = FrameStore(self.folder / "train/frames.h5")
        for level in (clip.vision.top // 2, clip.vision.top + 1):
            title = forward.title(level, top=clip.vision.top)
            found[f"forward {title}"] = _seconds(partial(_forward, clip, source, level))
            found[f"written {title}"] = _seconds(partial(self.store, "train", "vision", level, "float16", clip=clip))
            found[f"overhead {title}"] = found[f"written {title}"] / found[f"forward {title}"] - 1
        _title("writing", *(f"{key} {value:.3f}" for key, value in found.items()))
        return found

    def waiting(self) -> dict[str, float]:
        """The share of an epoch of `partial` that the trainer waits for data with two workers."""
        found = {}
        for source in ("clips", "frames", "float16"):
            line = self.trained("partial", source, workers=2)
            found[source] = line["waited"] / line["seconds"]
        _title("share of waiting, 2 workers, partial", *(f"{key} {value:.4f}" for key, value in found.items()))
        return found

    def sizes(self) -> dict[str, float]:
        """Bytes a video or a caption of every file that was written."""
        files = sorted((self.folder / "train").rglob("*.h5"))
        found = {str(p.relative_to(self.folder / "train")): p.stat().st_size / len(Rows(p, rule="features")) for p in files}
        _title("bytes a row", *(f"{key} {value:.0f}" for key, value in found.items()))
        return found


def _noise(target: Path, ids: list[str], *, number: int, size: int) -> None:
    """A frames.h5 of noise."""
    columns = {"frames": Column((number, 3, size, size), "u1"), "mask": Column((number,), "?", small=True)}
    attrs = {"dataset": "noise", "split": "", "recipe": "noise", "grid": "centres", "number": number, "size": size}
    rng = np.random.default_rng(0)
    writer = Writer(target, ids=ids, columns=columns, attrs=attrs, made_from=[])
    row = {"mask": np.ones((1, number), bool)}
    write(writer, (row | {"frames": rng.integers(0, 256, (1, number, 3, size, size), np.uint8)} for _ in ids), label="frames")


class _EveryLoss:
    """Notes the loss of every step: pipeline/training/loop.py keeps their mean only."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def __enter__(self) -> None:
        self.plain = plain = Step.backward

        def noted(*arguments: Any, **options: Any) -> torch.Tensor:
            loss = plain(*arguments, **options)
            self.losses.append(loss.item())
            return loss

        Step.backward = noted  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Step.backward = self.plain  # type: ignore[method-assign]


def _apart(found: dict[str, Any], source: str, key: str) -> float:
    return float(np.abs(np.asarray(found[source][key]) - np.asarray(found["frames"][key])).max())


@torch.no_grad()
def _forward(clip: FrozenClip, source: FrameStore, level: int) -> None:
    rows = np.arange(len(source))
    wanted = [rows[start : start + features.MOST] for start in range(0, len(rows), features.MOST)]
    for seen, mask in Stream(lambda batch: source.batch(batch.tolist()), wanted, device=CPU, workers=0):
        clip.frames_at(level, seen, mask=mask)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _title(*words: str) -> None:
    print("  ".join(words), flush=True)


def memory(args: argparse.Namespace) -> None:
    """Peak memory of processes that write and read 1,000 and 100,000 rows."""
    for what in WHAT:
        peaks = {}
        for rows in (1000, 100_000):
            options = ["--one", what, "--rows", str(rows), "--folder", str(args.folder or tempfile.gettempdir())]
            done = subprocess.run([sys.executable, "-m", "benchmarks.caches", *options], stdout=subprocess.PIPE, text=True, check=True)
            peaks[rows] = int(done.stdout.splitlines()[-1])
        print(
            f"{what}: {peaks[1000] / 2**20:.1f} MiB, {peaks[100_000] / 2**20:.1f} MiB, ratio {peaks[100_000] / peaks[1000]:.3f}", flush=True
        )


WHAT = ("features", "frames", "loader")


def _one(what: str, rows: int) -> int:
    """Peak memory in bytes of this process after it has written, or read, so many rows."""
    device.prepare(CPU, threads=1, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        {"features": _write_tokens, "frames": _write_pictures, "loader": _read}[what](Path(folder), rows)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _write_tokens(folder: Path, rows: int) -> None:
    ids, shape = [f"video{row}" for row in range(rows)], (4, 17, 32)
    writer = Writer(folder / "x.h5", ids=ids, columns={"tokens": Column(shape, "f2")}, attrs={}, made_from=ids)
    batch = np.zeros((features.MOST, *shape), np.float16)
    write(writer, ({"tokens": batch[: min(features.MOST, rows - start)]} for start in range(0, rows, features.MOST)), label="features")


def _write_pictures(folder: Path, rows: int) -> None:
    _noise(folder / "frames.h5", [f"video{row}" for row in range(rows)], number=4, size=16)


def _read(folder: Path, rows: int) -> None:
    _write_tokens(folder, rows)
    with Rows(folder / "x.h5", rule="features") as found:
        order = np.random.default_rng(0).permutation(rows)
        wanted = [order[start : start + 32] for start in range(0, rows, 32)]
        for _ in Stream(lambda batch: (torch.from_numpy(found.read("tokens", batch.tolist())),), wanted, device=CPU, workers=2):
            pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="ViT-B-32-quickgelu")
    for name, default in (("batch", 4), ("frames", 12), ("words", 32), ("steps", 20), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="where to write; without it the place for temporary files")
    parser.add_argument("--json", type=Path, help="to write")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", choices=WHAT, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
