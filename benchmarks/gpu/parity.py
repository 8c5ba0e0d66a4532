"""Every method and option in every precision on the device: loss, gradients and vectors, against the CPU in float32."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.evaluation.embed import embed
from tests.methods.cases import QUICK, cases, title

VIDEOS = 7
EXACT = {"precision": "float32"}


@dataclass(frozen=True)
class Way:
    """Settings of train, and how far their numbers may be from the reference: the gradient and the loss, and the vectors (`apart`)."""

    name: str
    settings: dict[str, Any]
    gradient: float
    vectors: float


WAYS = (
    Way("float32", EXACT, 2e-4, 1e-4),
    Way("float32 in pieces", EXACT | {"chunk": 3, "checkpointing": True}, 2e-4, 1e-4),
    Way("bfloat16", {"precision": "bfloat16"}, 0.3, 0.03),
    Way("float16", {"precision": "float16"}, 0.1, 0.005),
)


@dataclass(frozen=True)
class Seen:
    """The results of a batch on a device, brought to the CPU; without loss and gradients where nothing is trained."""

    loss: float
    gradients: dict[str, Tensor]
    vectors: dict[str, Tensor]


def work(part: Part) -> None:
    bounds = {way.name: {"gradient": way.gradient, "vectors": way.vectors} for way in WAYS}
    seen = {"backbone": towers.called(towers.SMALL), "videos": VIDEOS}
    part.facts = {"of": str(part.device), "against": "cpu in float32", **seen, "bounds": bounds}
    chosen = [case for case in cases() if case[0] in part.methods]
    chosen.sort(key=lambda case: case[1] != QUICK.get(case[0], {}))  # each method as it is, and then its options while there is time
    part.each(chosen, lambda case: _row(part, case), title=title)


def _row(part: Part, case: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    reference = _seen(case, towers.CPU, EXACT)
    row: dict[str, Any] = {"method": title(case)}
    for way in WAYS:
        found = _seen(case, part.device, way.settings)
        distances = {
            "gradient": math.hypot(apart(reference.gradients, found.gradients), found.loss / reference.loss - 1),
            "vectors": apart(reference.vectors, found.vectors),
        }
        for what, far in distances.items():
            row[f"{way.name}, {what}"] = float(f"{far:.0e}") if math.isfinite(far) else str(far)  # JSON has no NaN
            if not far <= getattr(way, what):  # nor is NaN
                part.fail(f"{title(case)}: {way.name}, {what}: {far:.0e} apart, more than {getattr(way, what):g}")
    return row


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The norm of the difference, of the norm of all: single entries may be nothing but rounding, or change where a ReLU begins."""
    assert one.keys() == other.keys()
    whole, far = (sum(float(part.double().square().sum()) for part in parts) for parts in (one.values(), _differences(one, other)))
    return math.sqrt(far / (whole or 1.0))


def _differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> Iterator[Tensor]:
    return (one[key].double() - other[key].double() for key in one)


def _seen(case: tuple[str, dict[str, Any]], place: torch.device, settings: dict[str, Any]) -> Seen:
    clip = towers.small(*case)
    split = towers.noise(clip, towers.FEW, videos=VIDEOS, padded=True)
    if clip.trained():
        trained = towers.trainer(clip, split, device=place, settings=settings)
        clip.eval()  # devices draw other numbers for a dropout
        loss = float(trained.backward())
        trained.work.scaler.unscale_(trained.optimiser)
    else:
        clip.to(place).compute_in(settings["precision"])
        loss = 1.0
    gradients = {key: (torch.zeros_like(p) if p.grad is None else p.grad).cpu() for key, p in clip.trained().items()}
    made = embed(clip, split, device=place, chunk=settings.get("chunk", 0))
    return Seen(loss, gradients, {key: torch.from_numpy(getattr(made, key)) for key in ("video", "text", "twin")})
