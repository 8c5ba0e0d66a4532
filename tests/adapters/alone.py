"""Embeddings of adapters, each from a process that has never had another: python -m tests.adapters.alone FOLDER RUN...

This process only imports, which takes seconds, and each run is a fork of it; none has a thread or has computed anything by then.
"""

import multiprocessing
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import FrozenClip, load_backbone
from pipeline.config.schema import Backbone
from pipeline.evaluation import embed
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Split
from pipeline.runtime import device
from tests.adapters.files import TEXTS

CPU = torch.device("cpu")


def frames_of(seed=1, number=70):
    """More videos than a batch has; every third has two padded frames."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (number, 4, 3, 64, 64), dtype=torch.uint8, generator=generator)
    mask = torch.ones(number, 4, dtype=torch.bool)
    mask[::3, 2:] = False
    return frames, mask


@dataclass
class Source:
    """The frames as a store."""

    video_ids: list = field(default_factory=lambda: [str(number) for number in range(70)])
    num_frames: int = 4
    level: int = 0

    def __len__(self):
        return len(self.video_ids)

    def batch(self, rows):
        frames, mask = frames_of()
        return Videos(frames[rows], mask[rows])


def alone(folder, run):
    """The embeddings that `embed` makes with nothing but its adapter; written to a file."""
    device.prepare(CPU, threads=1, seed=0)
    clip: FrozenClip = load_backbone(Backbone("clip-tiny", f"{folder}/weights.safetensors"))
    source = Path(folder, f"{run}.safetensors")
    methods.attach(clip, methods.load(run, config=checkpoint.read_header(source)["config"]), shape=methods.Shape(4, 12))
    checkpoint.load_into(clip, source)
    captions = np.zeros(len(TEXTS), np.int64)
    split = Split(Source(), None, clip.tokenize(TEXTS, num_words=12), captions, captions.astype(bool), TEXTS)
    made = embed.embed(clip, split, device=CPU)
    np.savez(Path(folder, f"{run}.npz"), text=made.text, video=made.video)


def main():
    folder, *runs = sys.argv[1:]
    context = multiprocessing.get_context("fork")
    for run in runs:
        process = context.Process(target=alone, args=(folder, run))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{run} alone ended with {process.exitcode}")


if __name__ == "__main__":
    main()
