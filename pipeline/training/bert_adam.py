"""BertAdam, the optimiser of CLIP4Clip and of what descends from it; torch has none (mv_adapter.md 5).

It differs from AdamW: the moments are not corrected for their start at zero, and each tensor's gradient is clipped by itself as well.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

OWN_NORM = 1.0  # the norm to which each tensor's gradient is clipped, after the global clipping
Round = Callable[[Tensor], Tensor]


def to_half(x: Tensor) -> Tensor:
    """The nearest number that float16 can store, in the type of `x`: what is too small becomes 0."""
    return x.to(torch.float16).to(x.dtype)


def _as_is(x: Tensor) -> Tensor:
    return x


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
            for group in self.param_groups:
                for parameter in group["params"] if group["half"] else ():
                    parameter.copy_(to_half(parameter))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every tensor that has a gradient."""
        assert closure is None, "the loss is not evaluated again"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, to_half if group["half"] else _as_is)

    def _update(self, p: Tensor, group: dict[str, Any], r: Round) -> None:
        state, (b1, b2) = self.state[p], group["betas"]
        if not state:
            state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
        assert p.grad is not None
        g = _clipped(r(p.grad), r)
        m = state["m"].copy_(r(r(b1 * state["m"]) + r((1 - b1) * g)))
        v = state["v"].copy_(r(r(b2 * state["v"]) + r((1 - b2) * g.square())))
        eps = r(torch.tensor(group["eps"], dtype=p.dtype)).item()  # on the CPU, so that a GPU is not waited for
        u = r(m / r(r(v.sqrt()) + eps))
        if group["weight_decay"]:
            u = r(u + r(group["weight_decay"] * p))
        p.copy_(r(p - r(group["lr"] * u)))


def _clipped(g: Tensor, r: Round) -> Tensor:
    """The gradient of one tensor with a norm of at most OWN_NORM."""
    return r(g * (OWN_NORM / (g.norm() + 1e-6)).clamp(max=1.0))
