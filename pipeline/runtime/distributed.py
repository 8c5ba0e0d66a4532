"""The processes that share one training: `torchrun` starts them, Accelerate joins them, and one process is a team of its own.

Each computes the features of its part of a batch; features are gathered, gradients added up. Nothing is averaged and no batch is cut
smaller, so the numbers are those of one process but for the order of sums.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

STARTED, HERE = "WORLD_SIZE", "LOCAL_WORLD_SIZE"  # set by torchrun: processes of all machines, and of this one


@dataclass(frozen=True)
class Team:
    """Process number `rank` of `size`, computing on `device`. The first one writes files and speaks."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """The part of this process: whole stretches in order of rank, as equal as can be."""
        return np.array_split(rows, self.size)[self.rank]

    def gather(self, part: Tensor, *, total: int) -> Tensor:
        """Everybody's part along the first dimension, together `total` rows in their order; no gradient. Padding is cut off again."""
        if self.size == 1 or not total:
            return part
        from accelerate.utils import gather

        numbers = [len(rows) for rows in np.array_split(np.empty(total), self.size)]
        most = max(numbers)
        padded = torch.cat([part.detach(), part.new_zeros(most - len(part), *part.shape[1:])]).to(self.device)
        plain = padded.to(torch.uint8) if part.dtype == torch.bool else padded
        rows = gather(plain.contiguous()).to(part).split(most)
        return torch.cat([rows[rank][:number] for rank, number in enumerate(numbers)])

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Each tensor becomes its sum over all processes. One message a type: adapters are many small tensors."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for alike in kinds.values():
            flat = reduce(torch.cat([tensor.reshape(-1) for tensor in alike]), reduction="sum")
            for tensor, total in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether it is true in some process, told to all."""
        if self.size == 1:
            return flag
        from accelerate.utils import reduce

        return bool(reduce(torch.tensor([float(flag)], device=self.device), reduction="sum").item())


ALONE = Team()


def processes_here() -> int:
    """The processes of this machine that torchrun started with this one."""
    return int(os.environ.get(HERE, "1"))


def join(device: torch.device) -> Team:
    """The team that torchrun started, or a team of one. A process computes on the `device` it has claimed; gloo on CPUs, NCCL on GPUs."""
    if int(os.environ.get(STARTED, "1")) == 1:
        return ALONE
    if device.type == "cuda":
        torch.cuda.set_device(device)
    os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    from accelerate import PartialState

    state: Any = PartialState(cpu=device.type == "cpu")
    return Team(rank=state.process_index, size=state.num_processes, device=device)


def leave() -> None:
    """Close the connections, so that torchrun sees a clean end."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
