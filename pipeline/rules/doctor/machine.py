"""The machine: its GPUs and their driver, shared memory of several GPUs, memory and cores."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from pipeline.config.resolve import train_of
from pipeline.config.schema import Params
from pipeline.core.formatting import size
from pipeline.rules import gpus
from pipeline.rules import resources as demand
from pipeline.rules.doctor.line import FINE, WARNING, Case, Line
from pipeline.rules.slurm import gpu_rules

SHARED = Path("/dev/shm")
DEVICES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")  # of GPUs that are there without nvidia-smi, the last one under Windows
NCCL = 2**30  # bytes that its documentation asks of a container
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
ELSEWHERE = "jobs run on other nodes: there, `srun python -m pipeline doctor` in the partition"


def graphics(case: Case) -> Iterator[Line]:
    """GPUs for `device`, and whether their driver can run the torch that is here."""
    device = case.device
    if device == "cpu" or case.slurm:
        yield Line("gpu", FINE, ELSEWHERE if case.slurm else "device: cpu asks for none")
        return
    bad = case.bad(*gpu_rules()) if device.startswith("cuda") else WARNING
    built, amd = gpus.built()
    if amd:
        yield Line("gpu", FINE, "torch is built for AMD's GPUs, which are not looked at")
        return
    number, driver, silent = case.gpus
    if not number:
        yield _without(device, silent, bad)
    elif not built:
        yield Line("gpu", bad, f"{number} GPUs are here, but torch is built for none; install torch for CUDA, or set device: cpu")
    elif int(built.split(".")[0]) > int(driver.split(".")[0]):
        remedy = f"update the driver, install torch built for CUDA {driver.split('.')[0]}, or set device: cpu"
        yield Line("gpu", bad, f"the driver runs CUDA {driver}, and torch is built for CUDA {built}; {remedy}")
    else:
        yield from _enough(case, device, number, f"{number} GPUs; the driver runs CUDA {driver}, torch is built for {built}")


def _without(device: str, silent: str, bad: str) -> Line:
    why = silent or "nvidia-smi and CUDA_VISIBLE_DEVICES name none"
    hidden = "" if os.environ.get("CUDA_VISIBLE_DEVICES") is None else ", or unset CUDA_VISIBLE_DEVICES"
    if any(Path(name).exists() for name in DEVICES) and silent:
        return Line("gpu", WARNING, f"a GPU seems to be here, but {why}, so rules count none; put a working nvidia-smi on the path")
    if device == "auto":
        return Line("gpu", FINE, f"none ({why}); device: auto computes on the CPU")
    return Line("gpu", bad, f"device is {device}, but there is no GPU here ({why}); set device: auto or cpu{hidden}")


def _enough(case: Case, device: str, number: int, found: str) -> Iterator[Line]:
    wanted = case.params.machine.gpus if case.params else 1
    said = f"GPUs here: {number}"
    index = int(device.partition(":")[2] or 0)
    if index >= number:
        yield Line("gpu", case.bad(*gpu_rules()), f"device is {device}, but {said}, from cuda:0 on; set device: auto")
    elif wanted > number:
        yield Line("gpu", case.bad("train", "rates"), f"machine.gpus is {wanted}, but {said}; set machine: {{gpus: {number}}}")
    else:
        yield Line("gpu", FINE, found)


def shared(case: Case) -> Iterator[Line]:
    """/dev/shm for the processes of one training, whose GPUs may exchange gradients through it. Readers use none."""
    if case.params is None or case.slurm:
        return
    number = case.params.machine.gpus
    if number == 1 or not case.gpus[0]:
        yield Line("shared memory", FINE, "one process trains, and needs none")
        return
    free = shutil.disk_usage(SHARED).free if os.access(SHARED, os.W_OK) else 0
    said = f"{number} processes of a training exchange gradients by NCCL, for which {SHARED} has {size(free)} free"
    remedy = "docker run --shm-size=1g, mount it larger, or export NCCL_SHM_DISABLE=1"
    yield Line("shared memory", *((FINE, said) if free >= NCCL else (WARNING, f"{said}; {remedy}")))


def memory(case: Case) -> Iterator[Line]:
    """Memory and cores of the machine against what the largest job is taken to need."""
    if case.params is None or case.slurm:
        return
    params, cores, there = case.params, len(os.sched_getaffinity(0)), _memory()
    gpu = case.gpus[0] > 0
    needed, what = max(_wanted(params, dataset, run, gpu=gpu) for dataset in params.run.datasets for run in params.run.methods)
    said = f"{cores} cores, {size(there)} of memory"
    if needed * 1e6 > there:
        remedy = "set train.chunk, a smaller train.batch, or checkpointing: true"
        yield Line("memory", WARNING, f"{said}; training {what} is taken to need up to {size(needed * 1e6)}: {remedy}")
    elif (threads := 1 + max(params.machine.workers, 0)) > cores and not case.quick:  # slower, but right
        remedy = f"set machine: {{workers: {cores - 1}}}"
        yield Line("memory", WARNING, f"{said}; a training computes and reads in {threads} processes: {remedy}")
    else:
        together = int(there / 1e6 // needed)
        more = f"; more than {together} trainings at once need `--resources mem_mb={there / 1e6:.0f}`" if together < cores else ""
        yield Line("memory", FINE, f"{said}; a training is taken to need up to {size(needed * 1e6)}{more}")


def _wanted(params: Params, dataset: str, run: str, *, gpu: bool) -> tuple[float, str]:
    train, frames = train_of(params, run, dataset), params.datasets[dataset].frames
    pairs = min(train.chunk or train.batch, train.batch)
    return demand.train_memory(pairs, share=demand.share(frames.number, frames.size), gpu=gpu), f"{run} on {dataset}"


def _memory() -> float:
    """Bytes of the machine, or of the container that this runs in."""
    told = [Path(name).read_text(encoding="utf-8").strip() for name in LIMITS if Path(name).is_file()]
    return min([float(psutil.virtual_memory().total), *(float(text) for text in told if text.isdecimal())])
