"""Two processes that share a step: the numbers of one process where each has a device, one sentence where they have not."""

from typing import Any

import numpy as np
import torch

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from benchmarks.processes import together
from benchmarks.step import ANCHOR
from pipeline.runtime import device
from pipeline.runtime.distributed import Team

SIZE, VIDEOS = 2, 6
REFUSED = "processes are to share a training"


def work(part: Part) -> None:
    """A GPU by its name is refused to two, and so is `auto` where there are fewer GPUs than processes."""
    alone = shared(Team(device=part.device))

    def row(asked: str) -> dict[str, Any]:
        has = asked == "cpu" or (asked == "auto" and torch.cuda.device_count() >= SIZE)
        try:
            found: Any = together(shared, size=SIZE, device=asked, limit=max(part.left, 1))
        except AssertionError as error:
            found = " ".join(str(error).split())
        if wrong := _wrong(found, alone=alone, joins=has):
            part.fail(f"device {asked}: {wrong}")
        said = "refused" if REFUSED in str(found) else "the numbers of one process" if not wrong else "see above"
        return {"device": asked, "processes": SIZE, "a device each": has, "came to": said}

    part.each(["cpu"] if part.small else [str(part.device), "auto"], row)


def _wrong(found: list[list[float]] | str, *, alone: list[float], joins: bool) -> str:
    """The faults in the outcome of two processes, their numbers or the text of their errors; nothing if they did as they should."""
    if joins and (isinstance(found, str) or not np.allclose(found, alone, rtol=1e-4)):
        return f"loss and norm of the gradient are {found} in two processes, {alone} in one"
    if not joins and REFUSED not in str(found):
        return f"two processes on one GPU are not refused in one sentence, but came to {found}"
    return ""


def shared(team: Team) -> list[float]:
    """The loss of a step that a team shares, and the norm of its gradient."""
    device.prepare(team.device, threads=1, seed=0)
    clip = towers.small(ANCHOR)
    split = towers.noise(clip, towers.FEW, videos=VIDEOS)
    trained = towers.trainer(clip, split, device=team.device, settings={"precision": "float32"}, team=team)
    loss = trained.backward()
    gradients = [p.grad for p in clip.trained().values() if p.grad is not None]
    return [float(loss), float(torch.nn.utils.get_total_norm(gradients))]
