"""Record of a training: code, versions, device, inputs. Written beside its adapter, so that a number can be traced."""

import hashlib
import importlib.metadata
import platform
import shlex
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


def unreadable() -> str:
    """Why git cannot read this checkout, and what to type; empty where it can, and where there is no repository."""
    if not (ROOT / ".git").exists():
        return ""
    told = f"git cannot read {ROOT}, and adapters name no commit"
    try:
        _git("status", "--porcelain", "--untracked-files=no", "--", *CODE)
    except FileNotFoundError:
        return f"{told}: there is no program git on the path; install it"
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()).removeprefix("fatal: ")
        if "dubious ownership" in said:
            return f"{told}: the folder belongs to another user; type: git config --global --add safe.directory {shlex.quote(str(ROOT))}"
        return f"{told}: {said}; `git fsck` says what is damaged, and a new clone mends it"
    return ""


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
