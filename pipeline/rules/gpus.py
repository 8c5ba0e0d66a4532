"""The GPUs of this machine, counted without torch, which takes seconds to load."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.programs import ask, first_line


def count(environment: Mapping[str, str]) -> int:
    """How many GPUs a process may use: what CUDA_VISIBLE_DEVICES names, else what nvidia-smi lists; none without it."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA stops at the first name that is none.
        return next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    return 0 if listed.returncode else len(listed.stdout.split())


def driver(*, seconds: float) -> tuple[str, str]:
    """The newest CUDA that the driver runs, as 13.0, and "" or why nvidia-smi does not tell it."""
    if not shutil.which("nvidia-smi"):
        return "", "there is no nvidia-smi"
    said = ask(["nvidia-smi"], seconds=seconds)
    if said is None:
        return "", f"nvidia-smi does not answer in {seconds:g} s"
    found = re.search(r"CUDA Version: *(\d+\.\d+)", said.stdout)
    if said.returncode or not found:
        return "", f"nvidia-smi says: {first_line(said.stdout + said.stderr) or 'nothing'}"
    return found[1], ""


def built() -> tuple[str, bool]:
    """The CUDA that torch was built for, "" if for none, and whether it was for AMD's GPUs; read from its files, as it loads for seconds.

    ValueError if there is no torch.
    """
    found = importlib.util.find_spec("torch")
    if found is None or not found.origin:
        raise ValueError("torch is not installed; make setup, or activate its environment")
    text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    told = dict(re.findall(r"^(cuda|hip)\b[^=]*= '([^']+)'", text, flags=re.MULTILINE))
    return told.get("cuda", ""), "hip" in told
