"""Versions, and the rates at which the device multiplies matrices of CLIP's sizes: what the speed of a step is compared with."""

import sys
from importlib import metadata

import torch

from benchmarks import gemm
from benchmarks.gpu.part import Part
from pipeline.runtime import device

PACKAGES = ("torch", "open_clip_torch", "numpy", "pandas", "h5py", "accelerate", "safetensors", "omegaconf")
KINDS = (("bfloat16", torch.bfloat16, False), ("float32", torch.float32, False), ("tf32", torch.float32, True))
SECONDS = 1.0, 0.1  # for each rate, and in small


def work(part: Part) -> None:
    found = part.found
    found["device"], found["python"] = device.title(part.device), sys.version.split()[0]
    found["versions"] = {name: _version(name) for name in PACKAGES}
    if part.device.type == "cuda":
        found["bytes"] = torch.cuda.get_device_properties(part.device).total_memory
    seconds, rows = SECONDS[part.small], 480 if part.small else 128 * 12 * 50  # tokens of a batch of ViT-B/32
    for label, kind, tf32 in KINDS:
        device.kernels(part.device, tf32=tf32, deterministic=True)
        part.rates[label] = gemm.rate(part.device, kind, rows=rows, seconds=seconds) / 1e12
    device.kernels(part.device, tf32=False, deterministic=True)
    found["gemm_tflops"] = {label: round(rate, 3) for label, rate in part.rates.items()}
    part.say(f"{found['device']}, torch {found['versions']['torch']}, TFLOP/s: {found['gemm_tflops']}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
