"""The same bits twice: of a gradient at full size, and of a training that was killed and goes on."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.config.schema import Train
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Split
from pipeline.runtime import device
from pipeline.training import loop

TRAININGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mv_adapter", {}),
    ("mv_adapter", {"precision": "bfloat16"}),
    ("mv_adapter", {"precision": "float16"}),
    ("vop_fc", {}),
    ("lora", {"precision": "bfloat16", "chunk": 3}),
    ("full_finetune", {"optimiser": "bert_adam"}),
)
BATCH, VIDEOS, KILLED = 8, 40, 9  # the batch that is never read: the fourth of the second of two epochs


class Killed(Exception):
    """The end of a training between two of its notes."""


class Ending:
    """A store that ends a training when it is asked for batch `last`."""

    def __init__(self, store: Any, *, last: int) -> None:
        self._store, self._left = store, last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __len__(self) -> int:
        return len(self._store)

    def batch(self, rows: list[int]) -> Videos:
        self._left -= 1
        if not self._left:
            raise Killed
        found: Videos = self._store.batch(rows)
        return found


def resume(part: Part) -> None:
    """Trainings of noise that are killed and go on, each against the same one in one go."""
    chosen = [(name, settings) for name, settings in TRAININGS if not part.names or name in part.names]
    for name, settings in part.items(chosen, least=3):
        label = _label(name, settings)
        with part.guarded(label), tempfile.TemporaryDirectory() as folder:
            whole = _fit(part, name, Path(folder) / "whole.pt", settings)
            try:
                _fit(part, name, Path(folder) / "killed.pt", settings, last=KILLED)
            except Killed:
                after = _fit(part, name, Path(folder) / "killed.pt", settings)
                same = all(torch.equal(whole[0][key], after[0][key]) for key in whole[0]) and whole[1] == after[1]
                part.found[label] = {"same": same, "losses": whole[1]}
                part.say(f"{label}: {'the same bits' if same else 'other bits'}")
                if not same:
                    part.fail(f"{label}: a training that was killed and went on has other bits")
            else:
                part.fail(f"{label}: it was not killed")


def _fit(part: Part, name: str, state: Path, settings: dict[str, Any], *, last: int = 0) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Tensors and losses."""
    values = Train(**{"epochs": 2, "batch": BATCH, "lr": 1e-3} | settings)
    device.prepare(part.device, threads=torch.get_num_threads(), seed=0)
    clip = towers.small(name, part.device)
    split = towers.noise(clip, towers.FEW, videos=VIDEOS, padded=True)
    data = _ending(split, last), towers.noise(clip, towers.FEW, videos=BATCH, seed=1)
    tensors, progress = loop.train(
        clip, data, settings=values, seed=5, device=part.device, state=state, fingerprint="f", report=lambda _: None, save_every=2
    )
    return tensors, [epoch["loss"] for epoch in progress.epochs]


def _ending(split: Split, last: int) -> Split:
    ending: Any = Ending(split.store, last=last)
    return replace(split, store=ending)


def gradients(part: Part) -> None:
    """Of one batch three times, with kernels whose sums have a fixed order."""
    backbone, shape, videos = (towers.SMALL, towers.FEW, BATCH) if part.small else (towers.LARGE, towers.MANY, 32)
    named = part.names or ["mv_adapter", "vop_fc", "aim"]
    for name, precision in part.items([(name, precision) for name in named for precision in ("float32", "bfloat16")], least=3):
        label = _label(name, {"precision": precision})
        with part.guarded(label):
            device.kernels(part.device, tf32=False, deterministic=True)
            clip = towers.attached(backbone, name, shape=shape, place=part.device)
            split = towers.noise(clip, shape, videos=videos, padded=True)
            trained = towers.trainer(clip, split, device=part.device, settings={"precision": precision}, videos=videos)
            first, *others = [list(_gradients(trained)) for _ in range(3)]
            same = all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))
            part.found[label] = same
            part.say(f"{label}: {'the same bits' if same else 'other bits'} three times")
            if not same:
                part.fail(f"{label}: the same batch has other gradients")


def _gradients(trained: towers.Trainer) -> Iterator[torch.Tensor]:
    trained.backward()
    yield from (p.grad.clone() for p in trained.clip.trained().values() if p.grad is not None)


def _label(name: str, settings: dict[str, Any]) -> str:
    return " ".join([name, *(f"{key}: {value}" for key, value in settings.items())])
