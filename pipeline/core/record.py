"""Record of a training: code, versions, device, inputs. Written beside its adapter, so that a number can be traced."""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from pipeline.core.code import ROOT

LOCK = ROOT / "envs/requirements.txt"
CODE = ("pipeline", "Snakefile", "params.yaml", "envs")
PACKAGES = ("torch", "open_clip_torch", "h5py", "numpy", "av", "imageio-ffmpeg", "snakemake", "dvc")


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str:
    """The commit of this checkout, with `+` when code or parameters differ from it; `unknown` outside a repository.

    Metrics are tracked too, and a run rewrites them: they say nothing about the code that ran.
    """
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", *CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def describe(*, device: str, threads: int, inputs: dict[str, Path]) -> dict[str, Any]:
    """Commit, package versions and the SHA-256 of their lock, machine, threads, device, and the path and SHA-256 of every input."""
    return {
        "commit": commit(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "lock": sha256(LOCK),
        "machine": platform.machine(),
        "threads": threads,
        "device": device,
        "inputs": {name: sha256(path) for name, path in sorted(inputs.items())},
        "paths": {name: str(path) for name, path in sorted(inputs.items())},
    }
