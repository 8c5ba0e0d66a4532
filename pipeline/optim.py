"""Optimiser and schedule, shared by pretraining and by every method."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.params import Train

# Positions, prompts and embeddings are tables, not matrices that multiply: decay would only pull them to zero.
TABLES = ("position", "embedding", "embedding.weight", "prompts")


def factor(step: int, *, steps: int, warmup: float) -> float:
    """Linear warm-up over the share `warmup` of all steps, then a cosine to zero: the gain of step 0 .. steps - 1."""
    ramp = max(round(warmup * steps), 1)
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(steps - ramp, 1)))


def is_matrix(name: str, tensor: Tensor) -> bool:
    """Whether weight decay applies: weights of linear maps and convolutions, not biases, gains, positions or prompts."""
    return tensor.ndim >= 2 and not name.endswith(TABLES)


def adamw(named: dict[str, nn.Parameter], *, train: Train) -> torch.optim.AdamW:
    """AdamW over the trained tensors: attached ones at `lr`, CLIP's own at `clip_lr`, decay on matrices only."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        rate = train.clip_lr if name.startswith("clip.") else train.lr
        decay = train.weight_decay if is_matrix(name, parameter) and name != "clip.logit_scale" else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    options = [{"params": tensors, "lr": rate, "base": rate, "weight_decay": decay} for (rate, decay), tensors in groups.items()]
    return torch.optim.AdamW(options, betas=(train.betas[0], train.betas[1]), eps=train.eps)


def set_rate(optimiser: torch.optim.Optimizer, gain: float) -> None:
    """Give every group its own rate times `gain`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * gain


def clip_gradients(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale all gradients down to the global norm `norm`."""
    torch.nn.utils.clip_grad_norm_(list(parameters), norm)
