"""`motion`, the embedded dataset: rendered clips of simple objects that each do something.

Made here from one seed, so nothing is downloaded and nobody's licence applies. At least half of the test captions are right
for one direction of time only; no scene occurs in two splits (pipeline/motion/scene.py says what a scene is).
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.dataset import Motion
from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core.layout import SPLITS
from pipeline.core.progress import track
from pipeline.datasets.annotations import rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.annotations.sources import About
from pipeline.motion import captions, files, scene
from pipeline.runtime.processes import in_order

GROUNDS = (2, 3)  # gradients of the clips; the still pictures for pretraining have the others
CAPTIONS = {"train": 5, "val": 1, "test": 1}  # a clip
LICENCE = "CC0-1.0"
ABOUT = About(title="motion", homepage="", licence=LICENCE, citation="rendered by this project from one seed", shared=True)


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    return params.motion.train + params.motion.val + params.motion.test


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    """As many as were asked for, so there is nothing to compare with."""
    return {}


def download(target: Path, settings: Download, name: str) -> None:
    """Render all clips to `target/videos/` and write `target/annotations.json`."""
    (target / "videos").mkdir(parents=True)
    assert settings.motion is not None, "rule download gives it to this dataset"
    clips = plan(settings.motion)
    jobs = [(clip.scene, target / "videos" / clip.file, clip.form, clip.seed) for clip in clips]
    for _ in track(in_order(_write, jobs, workers=len(os.sched_getaffinity(0))), total=len(jobs), label="render"):
        pass
    rows = [clip.annotation() for clip in clips]
    (target / "annotations.json").write_text(json.dumps({"videos": rows}, indent=1) + "\n", encoding="utf-8")


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    entries: list[dict[str, Any]] = json.loads((raw / "annotations.json").read_text(encoding="utf-8"))["videos"]
    videos = [
        Video(row["id"], row["file"], row["split"], src_path=f"videos/{row['file']}", licence=LICENCE, anno_duration=row["seconds"])
        for row in entries
    ]
    sentences = [
        Caption(row["id"], f"{row['id']}#{order}", order, text, row["split"], directed=bool(row["action"]), action=row["action"])
        for row in entries
        for order, text in enumerate(row["captions"])
    ]
    return rows.tables(name, videos, sentences)


class Clip:
    """One clip of the plan: its scene, its form as a file, its captions."""

    def __init__(self, split: str, number: int, chosen: scene.Scene, rng: np.random.Generator) -> None:
        self.split, self.scene, self.seed = split, chosen, int(rng.integers(2**31))
        self.form = files.sample(rng)
        self.name = f"{split}{number:05d}"
        self.file = f"{self.name}{self.form.suffix}"
        self.captions = [captions.caption(chosen, rng) for _ in range(CAPTIONS[split])]

    def annotation(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "file": self.file,
            "split": self.split,
            "seconds": round(self.form.seconds, 3),
            "captions": self.captions,
            "action": captions.action(self.scene),
        }


def plan(settings: Motion) -> list[Clip]:
    """All clips, test first, so that another number of training clips leaves the test set as it is."""
    taken: dict[tuple[object, ...], str] = {}
    clips = []
    for number, split in enumerate(reversed(SPLITS)):
        rng = np.random.default_rng([settings.seed, number])
        done = 0
        while done < int(getattr(settings, split)):
            chosen = scene.sample(rng, grounds=GROUNDS, counts=_shares(settings))
            if taken.setdefault(chosen.key(), split) == split:
                clips.append(Clip(split, done, chosen, rng))
                done += 1
    return clips


def _shares(settings: Motion) -> tuple[float, float, float]:
    if len(settings.objects) != 3 or min(settings.objects) < 0 or abs(sum(settings.objects) - 1) > 1e-9:
        raise ValueError(f"motion.objects is {settings.objects}; give three shares that add up to 1")
    one, two, three = settings.objects
    return one, two, three


def _write(job: tuple[scene.Scene, Path, files.Form, int]) -> None:
    chosen, target, form, seed = job
    files.write(chosen, target, form=form, seed=seed)
