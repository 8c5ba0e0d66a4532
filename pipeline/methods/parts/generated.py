"""Frozen matrices that a seed makes, so that no adapter needs to store them: what they are is known by their SHA-256."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Generated(nn.Module):
    """For each tower a matrix A (r, I) and a matrix B (O, r), uniform as Kaiming's for a ReLU, in this order from one generator.

    `sizes`: (O, I) by tower. They are drawn on the CPU, whatever the device, where equal seeds give equal numbers; another version of
    torch may draw others, which `sha256` tells.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]], *, rank: int, seed: int) -> None:
        super().__init__()
        self.seed = seed
        generator = torch.Generator("cpu").manual_seed(seed)
        device = torch.empty(0).device  # where a model is built now: on none where it is only counted
        for tower, (out, width) in sizes.items():
            for name, shape in (("down", (rank, width)), ("up", (out, rank))):
                drawn = nn.init.kaiming_uniform_(torch.empty(shape, device="cpu"), generator=generator)
                self.register_buffer(f"{tower}_{name}", drawn.to(device), persistent=False)

    def of(self, tower: str) -> tuple[Tensor, Tensor]:
        """A (r, I) and B (O, r) of a tower."""
        return self.get_buffer(f"{tower}_down"), self.get_buffer(f"{tower}_up")

    def sha256(self) -> str:
        """Of the names, shapes and float32 bytes of all matrices."""
        total = hashlib.sha256()
        for name, values in self.named_buffers():
            total.update(f"{name} {tuple(values.shape)}".encode())
            total.update(values.detach().cpu().float().numpy().tobytes())
        return total.hexdigest()
