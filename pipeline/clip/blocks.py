"""A tower's parts under open_clip's names, for towers of other libraries: what a method changes is called the same in all of them.

Shapes: N rows, L tokens, P patches, D width, H inner width of an MLP.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.kept_once import LayerNorm


class Attention(nn.Module):
    """Attention with queries, keys and values in one matrix, as `nn.MultiheadAttention` has them.

    `biases`: entries of the input projection's bias; 2 D of them are of queries and values, keys having none. `inner`: the epsilon of a
    norm before the output projection, None without one.
    """

    def __init__(self, width: int, *, heads: int, biases: int, inner: float | None = None) -> None:
        super().__init__()
        self.num_heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias: nn.Parameter | None
        self.register_parameter("in_proj_bias", nn.Parameter(torch.empty(biases)) if biases else None)
        self.ln_inner = nn.Identity() if inner is None else LayerNorm(width, eps=inner)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, read: Tensor) -> Tensor:
        """Tokens x (N, L, D) look at the tokens `read`, and not at each other, which `attention.attend` has them do."""
        width = x.shape[-1]
        own, other = (None, None) if self.in_proj_bias is None else (self.in_proj_bias[:width], self.in_proj_bias[width:])
        q = F.linear(x, self.in_proj_weight[:width], own)
        k, v = F.linear(read, self.in_proj_weight[width:], other).chunk(2, dim=-1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Queries or keys (N, heads, L, d), the last ones rotated by `turn` (P, 2 d): the sines of their angles, then the cosines.

    Channels rotate in pairs of neighbours. Tokens before these (CLS, prompts) have no place in the grid and stay.
    """
    before, grid = x[:, :, : -len(turn)], x[:, :, -len(turn) :]
    sin, cos = turn.chunk(2, dim=-1)
    pairs = grid.unflatten(-1, (-1, 2))
    across = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([before, (grid * cos + across * sin).to(x.dtype)], dim=2)


class Scale(nn.Module):
    """A gain for each channel of a branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Gated(nn.Module):
    """The inside of a gated MLP: (..., 2 H) -> (..., H), SiLU of the first half times the second, normalised where `eps` is given."""

    def __init__(self, inner: int, *, eps: float | None) -> None:
        super().__init__()
        self.ln_inner = nn.Identity() if eps is None else LayerNorm(inner, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, dim=-1)
        out: Tensor = self.ln_inner(F.silu(gate) * value)
        return out


def mlp(width: int, inner: int, *, activation: nn.Module) -> nn.Sequential:
    """D -> D through an inner width, which a `Gated` activation halves."""
    wide = 2 * inner if isinstance(activation, Gated) else inner
    return nn.Sequential(OrderedDict(c_fc=nn.Linear(width, wide), gelu=activation, c_proj=nn.Linear(inner, width)))


class Block(nn.Module):
    """The parts of one residual block; `tower` runs them. `scales`: gains of its attention and of its MLP."""

    def __init__(self, attn: Attention, inside: nn.Module, *, norms: tuple[nn.Module, nn.Module], scales: tuple[bool, bool]) -> None:
        super().__init__()
        width = attn.in_proj_weight.shape[1]
        self.ln_1, self.ln_2 = norms
        self.attn, self.mlp = attn, inside
        self.ls_1, self.ls_2 = (Scale(width) if scale else nn.Identity() for scale in scales)


class Pool(nn.Module):
    """Tokens (N, L, D) -> one vector (N, D): a learned query looks at all of them, and an MLP follows."""

    def __init__(self, attn: Attention, inside: nn.Module, *, norm: nn.Module) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(attn.in_proj_weight.shape[1]))
        self.attn, self.ln_2, self.mlp = attn, norm, inside

    def forward(self, x: Tensor) -> Tensor:
        seen = self.attn(self.query.expand(len(x), 1, -1), read=x)[:, 0]
        out: Tensor = seen + self.mlp(self.ln_2(seen))
        return out


class Trunk(nn.Module):
    """A vision tower under the names of open_clip's; `architecture` runs what stands before its blocks and behind them.

    - `conv1`: pixels -> patches. `class_embedding` (D,), or None without a CLS token. `positional_embedding`: of all tokens, or
      with `patch_positions` of the patches alone.
    - `attn_pool`: reads the tokens, or None where CLS is read. `proj`: the map to the embedding, or None without one.
    - `rotary` (P, 2 d): rotary positions of the patches in every attention (`turned`), or None.
    """

    def __init__(self, conv1: nn.Module, blocks: list[Block], *, image_size: tuple[int, int], positions: int, cls: bool) -> None:
        super().__init__()
        width = blocks[0].attn.in_proj_weight.shape[1]
        self.image_size, self.conv1 = image_size, conv1
        self.patch_positions = False
        self.register_parameter("class_embedding", nn.Parameter(torch.empty(width)) if cls else None)
        self.positional_embedding = nn.Parameter(torch.empty(positions, width))
        self.ln_pre: nn.Module = nn.Identity()
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(blocks)
        self.ln_post: nn.Module = nn.Identity()
        self.attn_pool: Pool | None = None
        self.proj: nn.Linear | None = None
        self.register_buffer("rotary", None, persistent=False)
