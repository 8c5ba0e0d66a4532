"""Trainings that are killed and go on, each against the same training in one go: the same bits?"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.config.schema import Train
from pipeline.inputs.frames import Videos
from pipeline.runtime import device
from pipeline.training import loop

# Of one method, what keeps other states: a scaler, another optimiser, a batch in pieces.
OTHERS: tuple[dict[str, Any], ...] = ({"precision": "float32"}, {"precision": "float16"}, {"optimiser": "bert_adam"}, {"chunk": 3})
BATCH, VIDEOS, EPOCHS = 4, 12, 2  # three steps an epoch
KILLED = 5  # the batch that is never read: the second of the second epoch, after a state was noted


class Killed(Exception):
    """The end of a training between two of its notes."""


class Ending(towers.Noise):
    """A store that ends a training when it is asked for its batch number `last`."""

    last = 0

    def batch(self, rows: list[int]) -> Videos:
        self.last -= 1
        if not self.last:
            raise Killed
        return super().batch(rows)


def work(part: Part) -> None:
    part.each(towers.trainings(part, OTHERS), lambda training: _row(part, *training), title=lambda training: towers.label(*training))


def _row(part: Part, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        whole = _fit(part, name, settings, state=Path(folder) / "whole.pt")
        state = Path(folder) / "killed.pt"
        try:
            _fit(part, name, settings, state=state, last=KILLED)
        except Killed:
            assert state.exists(), "nothing was noted before the end"
        else:
            raise AssertionError("it was not killed")
        after = _fit(part, name, settings, state=state)
    same = whole[1] == after[1] and all(torch.equal(tensor, after[0][key]) for key, tensor in whole[0].items())
    if not same:
        part.fail(f"{towers.label(name, settings)}: a training that was killed and went on has other bits")
    return {"training": towers.label(name, settings), "same bits": same, "losses": [round(loss, 4) for loss in whole[1]]}


def _fit(part: Part, name: str, settings: Mapping[str, Any], *, state: Path, last: int = 0) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Tensors and losses."""
    values = Train(**{"epochs": EPOCHS, "batch": BATCH, "validate_every": EPOCHS, **settings})
    device.prepare(part.device, threads=torch.get_num_threads(), seed=0)
    clip = towers.small(name).to(part.device)
    split, validation = (towers.noise(clip, towers.FEW, videos=videos, padded=True) for videos in (VIDEOS, BATCH))
    ending: Any = Ending(clip, towers.FEW, videos=VIDEOS, padded=True, seed=0)
    ending.last = last
    data = replace(split, store=ending), validation
    tensors, progress = loop.train(
        clip, data, settings=values, seed=5, device=part.device, state=state, fingerprint="f", report=lambda _: None, save_every=2
    )
    return tensors, [epoch["loss"] for epoch in progress.epochs]
