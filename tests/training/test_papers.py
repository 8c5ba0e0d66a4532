"""Each row of the papers' tables trains: its method and its training as the recipe has them, one epoch on a small CLIP of three blocks.

Numbers of blocks are cut to three; rows that are then the same are tried once.
"""

import pytest
import torch

from pipeline import methods
from pipeline.config import papers, recipes, registry
from pipeline.config.parse import parse
from pipeline.config.schema import Train
from pipeline.runtime.distributed import ALONE
from pipeline.training import loop
from tests.conftest import small_clip
from tests.training.planted import WORDS, planted

# What does not fit the small CLIP: 4 frames of 32 pixels, 12 words of 20, narrow towers.
SMALLER = {
    "cached_head": {"prefix": 4},
    "cm_adapter": {"shared": 6},
    "tempme": {"factors": [2, 2], "joins": [1, 2]},
    "stop": {"kernel": 3},
    "clip4clip_transformer": {"start": "random"},
}


def smaller(run, dataset):
    """The recipe's hyper-parameters, cut to the small CLIP."""
    config = recipes.part(run, dataset).config
    cut = {key: min(config[key], 3) for key in ("depth", "cmt_layers") if key in config} | ({"shallow": 2} if "shallow" in config else {})
    return config | cut | SMALLER.get(registry.method_of(run), {})


def distinct():
    """(run, dataset) of the printed rows: each method's settings once."""
    seen = {}
    for run, dataset in sorted({(cell.run, cell.dataset) for cell in papers.load() if cell.run}):
        seen.setdefault(str((registry.method_of(run), smaller(run, dataset))), (run, dataset))
    return list(seen.values())


@pytest.mark.parametrize(("run", "dataset"), distinct(), ids=lambda word: word)
def test_a_row_trains(run, dataset, tmp_path):
    part = recipes.part(run, dataset)
    method = methods.load(run, config=smaller(run, dataset))
    clip = methods.attach(small_clip(), method, shape=methods.Shape(4, WORDS))
    settings = parse(Train, part.train | {"epochs": 1, "batch": 2, "lr": 1e-3, "clip_lr": 1e-3}, where=run)
    before = {name: tensor.detach().clone() for name, tensor in clip.trained().items()}
    splits = planted(clip, videos=4, captions=1), planted(clip, videos=2, captions=1, seed=1)
    about = {"device": torch.device("cpu"), "state": tmp_path / "state.pt", "fingerprint": "f", "report": print}
    tensors, _ = loop.train(clip, splits, settings=settings, seed=5, workers=0, save_every=0, team=ALONE, **about)
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert any(not torch.equal(before[name], tensor) for name, tensor in clip.trained().items()) or not before
