"""Optimisers and schedules, shared by pretraining and by every method."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.config.schema import Train
from pipeline.training.bert_adam import BertAdam

# Positions, prompts and embeddings are tables, not matrices that multiply: decay would only pull them to zero.
TABLES = ("position", "embedding", "embedding.weight", "prompts")
MULTIPLYING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def rate(step: int, *, steps: int, train: Train) -> float:
    """The gain of step 0 .. steps - 1 on the rates, by the chosen schedule."""
    if train.schedule == "bert":
        return bert_factor(step, steps=steps, warmup=train.warmup)
    return factor(step, steps=steps, warmup=train.warmup)


def factor(step: int, *, steps: int, warmup: float) -> float:
    """Linear warm-up over the share `warmup` of all steps, then a cosine to zero: the gain of step 0 .. steps - 1."""
    ramp = max(round(warmup * steps), 1)
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(steps - ramp, 1)))


def bert_factor(step: int, *, steps: int, warmup: float) -> float:
    """The cosine over all steps, with a ramp from 0 in place of its first `warmup`: the first step moves nothing (mv_adapter.md 5)."""
    x = step / steps
    return x / warmup if x < warmup else 0.5 * (1 + math.cos(math.pi * x))


def is_matrix(name: str, tensor: Tensor) -> bool:
    """Whether weight decay applies: weights of linear maps and convolutions, not biases, gains, positions or prompts."""
    return tensor.ndim >= 2 and not name.endswith(TABLES)


def is_decayed(name: str, tensor: Tensor, *, rule: str) -> bool:
    """Whether a trained tensor decays under params.yaml's `decay`. The logit scale never does."""
    if name == "clip.logit_scale":
        return False
    if rule == "released":
        return name.startswith("clip.") or "bias" not in name
    return rule == "all" or is_matrix(name, tensor)


def build(named: dict[str, nn.Parameter], *, train: Train, half_names: frozenset[str] = frozenset()) -> torch.optim.Optimizer:
    """The optimiser over the trained tensors: attached ones at `lr`, CLIP's own at `clip_lr`, decay by the rule `decay`.

    `half_names` are the tensors to keep as float16 would store them, if `train.half` asks for it.
    """
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        base = train.clip_lr if name.startswith("clip.") else train.lr
        decay = train.weight_decay if is_decayed(name, parameter, rule=train.decay) else 0.0
        groups.setdefault((base, decay, train.half and name in half_names), []).append(parameter)
    options = [{"params": p, "lr": base, "base": base, "weight_decay": decay, "half": half} for (base, decay, half), p in groups.items()]
    betas = (train.betas[0], train.betas[1])
    if train.optimiser == "bert_adam":
        return BertAdam(options, betas=betas, eps=train.eps)
    assert not train.half, "train_of refuses this"
    plain = [{k: v for k, v in o.items() if k != "half"} for o in options]
    # One pass over a tensor takes a tenth of the time of separate steps on a CPU; on a GPU torch takes many tensors at once anyway.
    fused = all(parameter.device.type == "cpu" for parameter in named.values()) or None
    return torch.optim.AdamW(plain, betas=betas, eps=train.eps, fused=fused)


def half_names(clip: nn.Module) -> frozenset[str]:
    """The tensors that CLIP's half precision stores as float16, named as in `FrozenClip.trained()`.

    Weights and biases of linear maps and convolutions, and the joint input projections of attentions; not norms, embeddings or
    parameters that stand by themselves.
    """
    found: set[str] = set()
    for root, part in (("adapter", "adapter"), ("clip", "model")):
        for place, module in clip.get_submodule(part).named_modules(prefix=root):
            whole, joint = isinstance(module, MULTIPLYING), hasattr(module, "in_proj_weight")
            own = [name for name, _ in module.named_parameters(recurse=False)]
            found |= {f"{place}.{name}" for name in own if whole or (joint and name.startswith("in_proj"))}
    return frozenset(found)


def set_rate(optimiser: torch.optim.Optimizer, gain: float) -> None:
    """Give every group its own rate times `gain`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * gain


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], norm: float, *, gain: float = 1.0) -> None:
    """Multiply all gradients by `gain`, then scale them down to the global norm `norm`."""
    tensors = list(parameters)
    if gain != 1:
        torch._foreach_mul_([p.grad for p in tensors if p.grad is not None], gain)
    torch.nn.utils.clip_grad_norm_(tensors, norm)
