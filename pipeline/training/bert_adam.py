"""BertAdam, the optimiser of CLIP4Clip and of what descends from it; torch has none (mv_adapter.md 5).

It differs from AdamW: the moments are not corrected for their start at zero, and each tensor's gradient is clipped by itself as well.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

OWN_NORM = 1.0  # the norm to which each tensor's gradient is clipped, after the global clipping
Tensors = list[Tensor]
many: Any = torch  # its stubs take lists of numbers for what may be lists of tensors
Round = Callable[[Tensors], Tensors]


def to_half(tensors: Tensors) -> Tensors:
    """The nearest numbers that float16 can store, in the tensors' own type: what is too small becomes 0."""
    halves = [torch.empty_like(tensor, dtype=torch.float16) for tensor in tensors]
    many._foreach_copy_(halves, tensors)
    rounded = [torch.empty_like(tensor) for tensor in tensors]
    many._foreach_copy_(rounded, halves)
    return rounded


def _as_is(tensors: Tensors) -> Tensors:
    return tensors


class BertAdam(torch.optim.Optimizer):
    """With g the gradient, m and v zero at the start, and r the rounding to what is stored (float16 in groups with `half`):

        g = r(r(g) min(1, 1 / (|g| + 1e-6)))        m = r(r(b1 m) + r((1 - b1) g))      v = r(r(b2 v) + r((1 - b2) g^2))
        u = r(m / r(r(sqrt(v)) + r(eps)))           u = r(u + r(weight_decay p))        p = r(p - r(lr u))

    In float32 r does nothing. With `half` the parameters are rounded once when the optimiser is made. The release keeps weights, gradients
    and moments in float16 without scaling the loss, so v is 0 wherever |g| < 1.2e-3 (mv_adapter.md 7.2); rounding reproduces that on
    any device. The gradient is rounded after the global clipping, where float16 storage would round it before and after.
    """

    def __init__(
        self, params: Iterable[Any], *, betas: tuple[float, float], eps: float, lr: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "half": False})
        with torch.no_grad():
            for group in (group for group in self.param_groups if group["half"]):
                many._foreach_copy_(group["params"], to_half(group["params"]))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every tensor that has a gradient."""
        assert closure is None, "the loss is not evaluated again"
        for group in self.param_groups:
            if moving := [parameter for parameter in group["params"] if parameter.grad is not None]:
                self._update(moving, group, to_half if group["half"] else _as_is)

    def _update(self, ps: Tensors, group: dict[str, Any], r: Round) -> None:
        """All tensors of a group at once: on a GPU each kernel's start costs more than its work on a small tensor."""
        b1, b2 = group["betas"]
        ms, vs = (self._state(ps, name) for name in ("m", "v"))
        gs = _clipped(r([p.grad for p in ps if p.grad is not None]), r)
        squares = many._foreach_mul(many._foreach_mul(gs, gs), 1 - b2)
        many._foreach_copy_(ms, r(many._foreach_add(r(many._foreach_mul(ms, b1)), r(many._foreach_mul(gs, 1 - b1)))))
        many._foreach_copy_(vs, r(many._foreach_add(r(many._foreach_mul(vs, b2)), r(squares))))
        eps = r([torch.tensor(group["eps"], dtype=ps[0].dtype)])[0].item()  # on the CPU, so that a GPU is not waited for
        us = r(many._foreach_div(ms, r(many._foreach_add(r(many._foreach_sqrt(vs)), eps))))
        if group["weight_decay"]:
            us = r(many._foreach_add(us, r(many._foreach_mul(ps, group["weight_decay"]))))
        many._foreach_copy_(ps, r(many._foreach_sub(ps, r(many._foreach_mul(us, group["lr"])))))

    def _state(self, ps: Tensors, name: str) -> Tensors:
        for p in ps:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in ps]


def _clipped(gs: Tensors, r: Round) -> Tensors:
    """The gradient of each tensor with a norm of at most OWN_NORM."""
    gains = (OWN_NORM / (torch.stack(many._foreach_norm(gs)) + 1e-6)).clamp(max=1.0)
    return r(many._foreach_mul(gs, list(gains.unbind())))
