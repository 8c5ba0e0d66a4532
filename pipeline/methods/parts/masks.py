"""Masks for CLIP's own attention when its rows are not single frames or plain captions. B videos, K keys, L tokens."""

import torch
from torch import Tensor


def hide_keys(keys: Tensor, *, queries: int, copies: int) -> Tensor | None:
    """Visible keys (B, K) -> what to add to the scores of `copies` rows and heads a video, (B*copies, queries, K).

    None if all are visible, the case of most batches: full attention needs no mask, and the fast kernels want none.
    """
    if bool(keys.all()):
        return None
    hidden = torch.zeros(keys.shape, device=keys.device).masked_fill_(~keys, float("-inf"))
    return hidden[:, None, None].expand(-1, copies, queries, -1).reshape(-1, queries, keys.shape[1])


def causal(tokens: Tensor) -> Tensor:
    """Causal mask (L, L), to add to the attention scores of tokens (B, L, D) that see those before them, however many they are."""
    length = tokens.shape[1]
    return torch.full((length, length), float("-inf"), device=tokens.device).triu(1)
