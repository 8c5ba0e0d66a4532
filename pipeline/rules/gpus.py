"""The GPUs of this machine, counted without torch, which takes seconds to load."""

import shutil
import subprocess
from collections.abc import Mapping


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
