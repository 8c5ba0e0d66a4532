"""Where a run computes, and what makes it repeatable."""

import os

import torch


def choose(name: str) -> torch.device:
    """`auto` is the GPU if there is one. ValueError for a device this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda or cuda:<number>") from error
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise ValueError(f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices here; set device: auto")
    return device


def prepare(device: torch.device, *, threads: int, seed: int) -> None:
    """Seed the initialisation, fix the number of threads (it changes the order of sums) and ask for repeatable kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # One attention kernel with and without gradients: the fast path for inference rounds differently.
    torch.backends.mha.set_fastpath_enabled(False)
    if device.type == "cuda":
        # cuBLAS reads this before its first call; without it its sums may change from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
