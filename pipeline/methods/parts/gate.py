"""Gains of weights that a factor shared by both towers makes: MV-Adapter's cross-modality tying. D width, M bottleneck.

Paper: Jin et al., MV-Adapter, CVPR 2024 (arXiv:2301.07868), section 3.3, equation 4.
"""

from torch import Tensor, nn


class Gate(nn.Module):
    """Cross-modality tying, one tower's side: the shared factor (d,) -> a gain for one side of one weight (equation 4)."""

    def __init__(self, position: str, dim: int, width: int, middle: int) -> None:
        super().__init__()
        self.position = position
        self.proj = nn.Linear(dim, width if position in ("down_in", "up_out") else middle)

    def forward(self, weight: Tensor, factor: Tensor, *, side: str) -> Tensor:
        """A weight (out, in) of the `side` down or up -> the same, gated if this gate is for that side."""
        if not self.position.startswith(side):
            return weight
        beta: Tensor = self.proj(factor)
        return weight * (beta if self.position.endswith("_in") else beta[:, None])


def gated(gate: Gate | None, factor: Tensor | None, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The two weights of a bottleneck, gated where there is a gate."""
    if gate is None or factor is None:
        return down, up
    return gate(down, factor, side="down"), gate(up, factor, side="up")
