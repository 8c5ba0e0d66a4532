"""How fast a device multiplies matrices of the sizes that CLIP has: what a training step could reach at best."""

import time

import torch

from pipeline.cost.measure import wait

SECONDS = 1.5  # that it is measured for, after a first product
ROWS, WIDTH = 4800, 768  # 96 frames of 50 tokens of ViT-B/32, into the MLP


def rate(device: torch.device, kind: torch.dtype, *, rows: int = ROWS, width: int = WIDTH, seconds: float = SECONDS) -> float:
    """Floating-point operations a second of (rows, width) times (width, 4 width), in the median of as many as fit into the seconds."""
    left, right = torch.randn(rows, width).to(device, kind), torch.randn(width, 4 * width).to(device, kind)
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        wait(device)
        start = time.perf_counter()
        left @ right
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * rows * width * 4 * width / sorted(times[1:] or times)[len(times[1:] or times) // 2]
