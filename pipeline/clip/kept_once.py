"""The steps of a frozen block between its products, which keep for the backward pass only tensors that no other gives again.

They replace open_clip's modules of the same meaning, under the same names, when CLIP is frozen.
"""

from typing import Any

import torch
import torch.nn.functional as F
from open_clip import transformer
from torch import Tensor, nn

SLOPE = 1.702


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), CLIP's activation. It keeps its input alone, where autograd would keep the sigmoid too; the bits are the same."""
    out: Tensor = _QuickGelu.apply(x)
    return out


class QuickGelu(nn.Module):
    """`quick_gelu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu(x)


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (SLOPE * x).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """g s + 1.702 (g x) s (1 - s) with s the sigmoid: the sums and products that autograd would make, in its order."""
        (x,) = ctx.saved_tensors
        gain = (SLOPE * x).sigmoid_()
        through = torch.ops.aten.sigmoid_backward(gradient * x, gain).mul_(SLOPE)
        out: Tensor = gain.mul_(gradient).add_(through)
        return out


class LayerNorm(nn.LayerNorm):
    """LayerNorm in the type of its input, which is all that it keeps; the statistics are float32 inside the kernel.

    Autocast would make a float32 copy of the input and keep that.
    """

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = (part.to(input.dtype) for part in (self.weight, self.bias))
            return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


def add_and_norm(stream: Tensor, seen: Tensor, projection: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """stream + projection(seen), and the norm of that; each (N, L, D). The projection's weight is frozen and of their type.

    The sum is not kept for the backward pass: the stream is, for the norm before, and `seen`, for attention, and from these it is made
    again, to the bit. That is one product in twenty-four of a block's step, for one width in eleven of what it keeps.
    """
    bias, gain, shift = (part.to(stream.dtype) for part in (projection.bias, norm.weight, norm.bias))
    added, normed = _AddAndNorm.apply(stream, seen, projection.weight, bias, gain, shift, norm.eps)
    return added, normed


class _AddAndNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, stream: Tensor, seen: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        added = _sum(stream, seen, weight, bias)
        normed, mean, scale = torch.native_layer_norm(added, added.shape[-1:], gain, shift, eps)
        ctx.save_for_backward(stream, seen, weight, bias, gain, shift, mean, scale)
        return added, normed

    @staticmethod
    def backward(ctx: Any, to_added: Tensor, to_normed: Tensor) -> tuple[Tensor | None, ...]:
        stream, seen, weight, bias, gain, shift, mean, scale = ctx.saved_tensors
        added = _sum(stream, seen, weight, bias)
        wanted = [True, *ctx.needs_input_grad[4:6]]
        through, to_gain, to_shift = torch.ops.aten.native_layer_norm_backward(
            to_normed, added, added.shape[-1:], mean, scale, gain, shift, wanted
        )
        to_sum = through.add_(to_added)
        to_bias = to_sum.flatten(0, -2).sum(0) if ctx.needs_input_grad[3] else None
        return to_sum, to_sum @ weight, None, to_bias, to_gain, to_shift, None


def _sum(stream: Tensor, seen: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with torch.autocast(seen.device.type, enabled=False):
        return stream + F.linear(seen, weight, bias)


def replace(model: nn.Module) -> None:
    """Put the modules of this file in the place of open_clip's, with their tensors."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is transformer.QuickGELU:
                setattr(module, name, QuickGelu())
            elif isinstance(child, nn.LayerNorm) and type(child) is transformer.LayerNorm:
                made = LayerNorm(child.normalized_shape, eps=child.eps, device="meta")
                made.weight, made.bias = child.weight, child.bias
                setattr(module, name, made)
