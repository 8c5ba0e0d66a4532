"""Large token tables: half of the numbers of some models, of which a batch reads a few hundred rows.

A large one stays in the type that its file has, and frozen unless a method asks for it; rows are cast as they are looked up, so features
are those of a table in float32, to the bit. The tables of CLIP's own tokeniser are not large (bigG's has 63 million entries): they are
float32, and trained with the rest.
"""

from typing import Any

import torch
from torch import Tensor, nn

NAME = "token_embedding.weight"
LARGE = 100_000_000  # entries; the smallest table above has 192 million, those of SigLIP 2 197 million and more
KEPT = (torch.float32, torch.bfloat16, torch.float16)


def is_large(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of CLIP, by its name, is a large token table."""
    return name == NAME and tensor.numel() > LARGE


def small(text: dict[str, Any]) -> dict[str, Any]:
    """The `text` part of a configuration with a table of two words in the place of a large one, which is not to be drawn at random."""
    return text | {"vocab_size": 2} if text.get("vocab_size", 0) * text.get("width", 0) > LARGE else text


def leave_open(model: Any, words: int) -> None:
    """Give a model built with a `small` table one of so many words again, without numbers, for `fill`."""
    if words != model.vocab_size:
        model.vocab_size = words
        model.token_embedding = nn.Embedding(words, model.token_embedding.embedding_dim, device="meta")


def fill(model: Any, state: dict[str, Tensor]) -> None:
    """Take a large table out of a state as it is; one of another type than KEPT becomes float32."""
    if is_large(NAME, model.token_embedding.weight):
        kept = state[NAME] if state[NAME].dtype in KEPT else state[NAME].float()
        model.token_embedding.weight = state[NAME] = nn.Parameter(kept, requires_grad=False)


def in_float32(model: Any) -> Any:
    """The model in float32 but for its large token table."""
    if not is_large(NAME, model.token_embedding.weight):
        return model.float()
    table, model.token_embedding = model.token_embedding, nn.Identity()
    model.float()
    model.token_embedding = table
    return model
