"""Where a run computes, and what makes it repeatable."""

import getpass
import os
import tempfile
from pathlib import Path

import torch

from pipeline.core.locks import LIMIT, Lock, first_free
from pipeline.runtime.distributed import processes_here

# cuBLAS reads it before its first call. Without it its sums may change from run to run; torch accepts these two values.
WORKSPACE, REPEATABLE = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
_claims: dict[str, Lock] = {}  # held until this process ends


def choose(name: str) -> torch.device:
    """`auto` is a GPU that no other `auto` of this user computes on, if there are GPUs; it waits for one to become free.

    ValueError for a device this machine does not have, and for more processes of one training than GPUs, which would wait for each other.
    A GPU that is named, such as cuda:1, is taken whoever else is on it.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if processes_here() > torch.cuda.device_count():
            seen = f"torch sees {torch.cuda.device_count()} GPUs here"
            raise ValueError(f"{processes_here()} processes are to share a training, but {seen}; set machine.gpus to at most that")
        return _claimed()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}; use auto, cpu, cuda or cuda:<number>") from error
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise ValueError(f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices here; set device: auto")
    if device.type == "cuda" and processes_here() > 1:
        raise ValueError(f"device is {name!r}, but {processes_here()} processes are to share a training, a GPU each; set device: auto")
    return device


def title(device: torch.device) -> str:
    """The name of the device in records: cpu, or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def precision(wanted: str, device: torch.device) -> str:
    """The type that `auto` stands for on a device: bfloat16 on a GPU that multiplies in it, else float32."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0) else "float32"


def _claimed() -> torch.device:
    """Take the lock of a GPU, known by its serial id: numbers differ between jobs that see different GPUs."""
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
    return torch.device("cuda", claim(names, folder=Path(tempfile.gettempdir())))


def claim(names: list[str], *, folder: Path, limit: float = LIMIT) -> int:
    """The number of the first of `names` that no other process has claimed, which this one keeps until it ends.

    Stopped if none becomes free within `limit` seconds.
    """
    for name in names:
        if name in _claims:
            return names.index(name)
    candidates = [Lock(folder / f"petl-vtr-{getpass.getuser()}-{name}.lock") for name in names]
    busy = f"all {len(names)} GPUs here are at work for other jobs"
    number = first_free(
        candidates,
        told=lambda holders: f"{busy}; waiting for one (device: cuda:0 shares it): {holders}",
        ended=busy,
        limit=limit,
    )
    _claims[names[number]] = candidates[number]
    return number


def prepare(device: torch.device, *, threads: int, seed: int, tf32: bool = False, deterministic: bool = True) -> None:
    """Seed the initialisation, fix the number of threads (it changes the order of sums) and ask for repeatable kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    kernels(device, tf32=tf32, deterministic=deterministic)


def kernels(device: torch.device, *, tf32: bool, deterministic: bool) -> None:
    """Choose the kernels of this process.

    `tf32` and `deterministic` concern GPUs: faster, rounder products of matrices, and kernels whose sums have a fixed order. An
    operation that has no such kernel raises (`explained`). ValueError for an environment that takes the order of sums back.
    """
    # One attention kernel with and without gradients: the fast path for inference rounds differently.
    torch.backends.mha.set_fastpath_enabled(False)
    if device.type == "cuda":
        workspace = os.environ.setdefault(WORKSPACE, REPEATABLE[0])
        if deterministic and workspace not in REPEATABLE:
            raise ValueError(
                f"{WORKSPACE} is {workspace!r}, with which sums may change from run to run; unset it, or set train.deterministic: false"
            )
        # An error and not a warning: where it only warns, torch takes the backward pass of attention whose sums have no order.
        torch.use_deterministic_algorithms(deterministic, warn_only=False)
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32


def random_state(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Of the generators that something with dropout would draw from: the CPU's, and the GPU's where that is the device."""
    return (torch.get_rng_state(), *((torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()))


def set_random_state(state: tuple[torch.Tensor, ...], device: torch.device) -> None:
    """Draw again from a `random_state` on."""
    torch.set_rng_state(state[0].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1].cpu(), device)
