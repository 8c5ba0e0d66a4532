"""Masks for CLIP's own attention where its rows are not plain captions. B videos, L tokens, D width."""

import torch
from torch import Tensor


def causal(tokens: Tensor) -> Tensor:
    """Causal mask (L, L), to add to the attention scores of tokens (B, L, D) that see those before them, however many they are."""
    length = tokens.shape[1]
    return torch.full((length, length), float("-inf"), device=tokens.device).triu(1)
