"""A small transformer: one pre-norm block. B rows, L tokens, M width."""

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.clip.kept_once import quick_gelu


class Mixer(nn.Module):
    """Attention and a fourfold MLP without dropout; `std_width` sets the initial scale as a width does in CLIP."""

    def __init__(self, middle: int, *, heads: int, std_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(middle), nn.LayerNorm(middle)
        self.qkv, self.out = nn.Linear(middle, 3 * middle), nn.Linear(middle, middle)
        self.fc, self.proj = nn.Linear(middle, 4 * middle), nn.Linear(4 * middle, middle)
        nn.init.normal_(self.qkv.weight, std=std_width**-0.5)
        for linear in (self.out, self.fc, self.proj):
            nn.init.normal_(linear.weight, std=(2 * std_width) ** -0.5)
        for linear in (self.qkv, self.out):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, *, keys: Tensor | None = None) -> Tensor:
        """(B, L, M) -> (B, L, M); `keys` (B, L) are the visible ones, and None means causal attention."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, dim=-1))
        mask = keys[:, None, None, :] if keys is not None else None
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=keys is None)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y: Tensor = x + self.proj(quick_gelu(self.fc(self.ln_2(x))))
        return y
