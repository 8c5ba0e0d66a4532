"""A training that ends in a second: the small CLIP, and videos that are named by their grey level."""

import numpy as np
import torch

from pipeline import methods
from pipeline.config.schema import Train
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Split
from pipeline.runtime.distributed import ALONE
from pipeline.training import loop
from tests.conftest import small_clip
from tests.methods.cases import QUICK

WORDS = 12
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "purple", "orange")


class Memory:
    """Frames in memory with the interface of the store."""

    kind, level = "frames", 0

    def __init__(self, frames, mask):
        self.pictures, self.mask = torch.from_numpy(frames), torch.from_numpy(mask)
        self.video_ids = [f"v{i}" for i in range(len(frames))]
        self.num_frames = frames.shape[1]

    def __len__(self):
        return len(self.pictures)

    def batch(self, rows):
        return Videos(self.pictures[rows], self.mask[rows])


def planted(clip, videos=48, captions=2, seed=0):
    """Videos of one flat grey level among eight, named by a colour word: learnable, unknown to random weights."""
    rng = np.random.default_rng(seed)
    kind = np.arange(videos) % 8
    frames = np.empty((videos, 4, 3, 32, 32), np.uint8)
    for row, k in enumerate(kind):
        frames[row] = 16 + 30 * k + rng.integers(0, 8, (4, 3, 1, 1))
    owner = np.repeat(np.arange(videos), captions)
    texts = [f"a {COLOURS[kind[v]]} picture" for v in owner]
    said = [f"a {COLOURS[(k + frame) % 8]} frame {'again ' * frame}" for k in kind for frame in range(4)]
    return Split(
        store=Memory(frames, np.ones((videos, 4), bool)),
        text=None,
        ids=clip.tokenize(texts, num_words=WORDS),
        video=owner,
        directed=np.zeros(len(owner), bool),
        caption_ids=[f"c{i}" for i in range(len(owner))],
        extra=clip.tokenize(said, num_words=WORDS).unflatten(0, (videos, 4)) if clip.extra_captions else None,
    )


def fit(name, tmp_path, *, state="state.pt", config=None, report=print, workers=0, save_every=0, team=ALONE, gallery=16, **settings):
    torch.manual_seed(7)
    config = QUICK.get(name, {}) | (config or {})
    clip = methods.attach(small_clip(), methods.load(name, config=config), shape=methods.Shape(4, WORDS))
    values = Train(**({"epochs": 3, "batch": 8, "lr": 1e-2, "clip_lr": 1e-3} | settings))
    tensors, progress = loop.train(
        clip,
        (planted(clip), planted(clip, videos=gallery, captions=1, seed=1)),
        settings=values,
        seed=5,
        device=torch.device("cpu"),
        state=tmp_path / state,
        fingerprint="f",
        report=report,
        workers=workers,
        save_every=save_every,
        team=team,
    )
    return clip, tensors, progress
