"""Training state on the disk, to resume from: the last two, each whole."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pipeline.core.files import Disk, whole
from pipeline.runtime.device import random_state, set_random_state


@dataclass(frozen=True)
class State:
    """The file `path` with the newest state and its sibling with the one before, both of the run `fingerprint`."""

    path: Path
    fingerprint: str
    trained: dict[str, nn.Parameter]
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device

    @property
    def before(self) -> Path:
        return self.path.with_suffix(f".before{self.path.suffix}")

    def exists(self) -> bool:
        return self.path.exists() or self.before.exists()

    def save(self, progress: dict[str, Any]) -> None:
        """Write a new state; the newest so far becomes the one before."""
        with whole(self.path) as part, Disk(part, self.path) as disk:
            torch.save(
                {
                    "fingerprint": self.fingerprint,
                    "tensors": {name: p.detach() for name, p in self.trained.items()},
                    "optimiser": self.optimiser.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "progress": progress,
                    "random": random_state(self.device),
                },
                disk,
            )
            disk.settle()
            if self.path.exists():
                os.replace(self.path, self.before)

    def restore(self) -> dict[str, Any]:
        """Set tensors, optimiser and generators to the newest state that can be read; returns its progress.

        ValueError if it belongs to another run, or none can be read.
        """
        stored = self._read()
        if stored["fingerprint"] != self.fingerprint:
            raise ValueError(f"{self.path} belongs to a run with other settings or inputs; delete it to train from the start")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(stored["tensors"][name])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.scaler.load_state_dict(stored["scaler"])
        set_random_state(stored["random"], self.device)
        progress: dict[str, Any] = tree_map_only(Tensor, lambda tensor: tensor.to(self.device), stored["progress"])
        return progress

    def _read(self) -> dict[str, Any]:
        problem: Exception | None = None
        for path in (self.path, self.before):
            try:
                # On the CPU, where AdamW's counters of steps belong: each of them on a GPU is waited for in every step.
                stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                if problem:
                    print(f"{self.path} cannot be read ({type(problem).__name__}); going on from {path}", flush=True)
                return stored
            except Exception as error:  # zip, pickle and torch errors alike
                problem = problem or error
        raise ValueError(f"{self.path} cannot be read ({type(problem).__name__}); delete it to train from the start") from problem
