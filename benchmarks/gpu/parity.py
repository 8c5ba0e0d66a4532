"""Every method in every precision: loss, gradients, a step of each optimiser and embeddings on the device, against the CPU in float32."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu import towers
from benchmarks.gpu.part import Part
from pipeline.config.schema import Train
from pipeline.evaluation.embed import embed
from pipeline.training import optim

CPU = torch.device("cpu")
VIDEOS = 7
# Settings, and how far loss and gradients may be from float32 on the CPU: relative to the loss, and to the largest entry of all gradients.
PRECISIONS: tuple[tuple[dict[str, Any], float], ...] = (
    ({}, 2e-4),
    ({"chunk": 3, "checkpointing": True}, 2e-4),
    ({"precision": "bfloat16"}, 0.3),
    ({"precision": "float16"}, 0.1),
)
OPTIMISERS: tuple[dict[str, Any], ...] = ({"optimiser": "adamw"}, {"optimiser": "bert_adam"})
STEP = 1e-5  # of the largest change by a step from equal gradients
VECTORS = 1e-3  # between unit vectors


@dataclass
class Seen:
    """Loss and gradients of a batch on some device, brought to the CPU."""

    loss: float
    gradients: dict[str, Tensor]


def work(part: Part) -> None:
    worst: dict[str, Any] = {}
    done: list[str] = []
    part.found |= {"worst": worst, "methods": done}
    for name in part.items(part.trainable(), least=2):
        with part.guarded(name):
            _method(part, name, worst)
        done.append(name)
    for label, (far, name) in worst.items():
        part.say(f"{label}: at most {far:.1e} apart ({name})")


def _method(part: Part, name: str, worst: dict[str, Any]) -> None:
    reference = _gradients(name, CPU, {})
    for settings, bound in PRECISIONS:
        found = _gradients(name, part.device, settings)
        far = max(apart(reference.gradients, found.gradients), abs(found.loss - reference.loss) / abs(reference.loss))
        _note(part, worst, ", ".join(f"{k}: {v}" for k, v in settings.items()) or "float32", name, far, bound)
    for settings in OPTIMISERS:
        moved = [_updated(name, place, settings, reference.gradients) for place in (CPU, part.device)]
        _note(part, worst, f"a step of {settings['optimiser']}", name, apart(*moved), STEP)
    made = [_embedded(name, place) for place in (CPU, part.device)]
    _note(part, worst, "embeddings", name, apart(*made, relative=False), VECTORS)


def _note(part: Part, worst: dict[str, Any], label: str, name: str, far: float, bound: float) -> None:
    """NaN is apart, too."""
    if label not in worst or not far <= worst[label][0]:
        worst[label] = (far, name)
    if not far <= bound:
        part.fail(f"{name}, {label}: {far:.1e} apart, more than {bound:g}")


def apart(one: dict[str, Tensor], other: dict[str, Tensor], *, relative: bool = True) -> float:
    """The largest difference, of the largest entry of all: single tensors may be nothing but rounding (the bias of an attention's keys)."""
    assert one.keys() == other.keys()
    most = max((float(value.abs().max()) for value in one.values()), default=0.0) if relative else 1.0
    far = torch.tensor([float((one[key].float() - other[key].float()).abs().max()) for key in one])
    return float(far.max()) / (most or 1.0)


def _gradients(name: str, place: torch.device, settings: dict[str, Any]) -> Seen:
    clip = towers.small(name, place)
    trained = towers.trainer(clip, _split(clip), device=place, settings=settings, videos=VIDEOS)
    loss = trained.backward()
    trained.work.scaler.unscale_(trained.optimiser)
    found = {key: (torch.zeros_like(p) if p.grad is None else p.grad).cpu() for key, p in clip.trained().items()}
    return Seen(float(loss), found)


def _updated(name: str, place: torch.device, settings: dict[str, Any], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a step from equal gradients moves: from its own the sign of rounding errors would decide."""
    clip = towers.small(name, place)
    trained, values = clip.trained(), Train(**settings)
    before = {key: p.detach().clone() for key, p in trained.items()}
    optimiser = optim.build(trained, train=values)
    for key, parameter in trained.items():
        parameter.grad = gradients[key].to(place)
    optim.clip_gradients(trained.values(), values.clip_norm)
    optim.set_rate(optimiser, 1.0)
    optimiser.step()
    return {key: (p.detach() - before[key]).cpu() for key, p in trained.items()}


def _embedded(name: str, place: torch.device) -> dict[str, Tensor]:
    clip = towers.small(name, place)
    made = embed(clip, _split(clip), device=place)
    vectors = {key: torch.from_numpy(getattr(made, key)) for key in ("video", "text", "twin")}
    scale = {key: float(value.norm(dim=-1).max()) for key, value in vectors.items()}  # where queries weigh frames nothing is normalised
    return {key: value / scale[key] for key, value in vectors.items()}


def _split(clip: Any) -> Any:
    return towers.noise(clip, towers.FEW, videos=VIDEOS, padded=True)
