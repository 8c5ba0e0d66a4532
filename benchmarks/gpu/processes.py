"""Two processes by torchrun that share a step: the loss of one process where each has a device, one sentence where they have not."""

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.runtime import device
from pipeline.runtime.distributed import ALONE, Team, join, leave
from pipeline.stages import guarded

LIMIT = 60.0  # seconds: two that wait for each other would wait for ever
NAME, VIDEOS, SIZE, SAID = "mv_adapter", 6, 2, "shared loss"
REFUSED = "are to share a training"


def work(part: Part) -> None:
    enough = part.device.type == "cpu" or torch.cuda.device_count() >= SIZE
    alone = _loss(part.device, ALONE)
    for asked in dict.fromkeys([str(part.device), "auto"] if part.device.type == "cuda" else ["cpu"]):
        if part.left < 8:
            part.cut = "no time was left for two processes"
            return
        code, said = _started(asked, limit=min(LIMIT, part.left - 2))
        part.found[asked] = {"exit": code, "said": said[-3:]}
        part.say(f"device {asked}: exit {code}, {said[-1:]}")
        _judge(part, asked, code, said, alone=alone, joins=enough and asked in ("cpu", "auto"))


def _judge(part: Part, asked: str, code: int | None, said: Sequence[str], *, alone: float, joins: bool) -> None:
    losses = [float(line.rsplit(" ", 1)[1]) for line in said if line.startswith(SAID)]
    if code is None:
        part.fail(f"device {asked}: two processes wait for each other")
    elif joins and not (len(losses) == SIZE and np.allclose(losses, alone, rtol=1e-4)):
        part.fail(f"device {asked}: two processes have the losses {losses}, one has {alone}")
    elif not joins and not any(REFUSED in line for line in said):
        part.fail(f"device {asked}: two processes on one GPU are not refused in one sentence")


def _started(asked: str, *, limit: float) -> tuple[int | None, list[str]]:
    """Exit code, None if they did not end, and what they said without torchrun's own words."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={SIZE}", "-m", __name__, asked]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as started:
        try:
            said, _ = started.communicate(timeout=limit)
            code: int | None = started.returncode
        except subprocess.TimeoutExpired:
            started.terminate()  # torchrun ends its own
            said, code = started.communicate()[0], None
    return code, [line for line in said.splitlines() if line.startswith((SAID, "error: "))]


def _loss(place: torch.device, team: Team) -> float:
    clip = towers.small(NAME, place)
    split = towers.noise(clip, towers.FEW, videos=VIDEOS)
    return float(towers.trainer(clip, split, device=place, settings={}, videos=VIDEOS, team=team).backward())


def main() -> None:
    """One of the processes."""
    place = device.choose(sys.argv[1])
    team = join(place)
    device.prepare(place, threads=1, seed=0)
    loss = _loss(place, team)
    print(f"{SAID} {loss}", flush=True)
    leave()


if __name__ == "__main__":
    guarded(main)
