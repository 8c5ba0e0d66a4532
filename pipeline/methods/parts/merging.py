"""Tokens of a row that are merged: of two patches that are alike one is left, which counts for as many as it was made of.

Bolya et al., Token Merging (arXiv:2210.09461), section 3, as TempMe (arXiv:2409.01156) has it. Of R rows of S tokens the first `cls` are
class tokens, which never merge. Sources are the patches at even positions of the whole row, destinations those at odd ones. Sizes (R, S)
say how many patches a token stands for; 0 is padding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def possible(tokens: int, *, cls: int, wanted: int) -> int:
    """How many of `wanted` merges a row of so many tokens has room for."""
    return min(wanted, (tokens - cls) // 2)


def merge(tokens: Tensor, sizes: Tensor, metric: Tensor, *, cls: int, number: int) -> tuple[Tensor, Tensor]:
    """(R, S, D) and their sizes -> (R, S - number, D) and theirs: the sources that are most alike with a destination go into it.

    `metric` (R, S, ...) says what is alike. The order is: class tokens, sources that stayed, destinations; each by position. No gradient
    goes through the choice, it goes through the averages.
    """
    if not number:
        return tokens, sizes
    stay, gone, to = _matched(metric, sizes, cls=cls, number=number)
    _, ends = _parts(cls)
    own, lost = sizes[:, ends], _taken(sizes, gone)
    places = _flat(to, own.shape[1])
    # Sums row by row in a fixed order: a GPU's kernel for it is deterministic where that is asked for.
    moved = (_taken(tokens, gone) * lost[..., None]).flatten(0, 1)
    total = (tokens[:, ends] * own[..., None]).flatten(0, 1).index_add(0, places, moved)
    size = own.flatten().index_add(0, places, lost.flatten()).view_as(own)
    mean = total.view(*own.shape, -1) / size.clamp(min=1)[..., None]
    merged = torch.cat([tokens[:, :cls], _taken(tokens, stay), mean.to(tokens.dtype)], dim=1)
    return merged, torch.cat([sizes[:, :cls], _taken(sizes, stay), size], dim=1)


@torch.no_grad()
def _matched(metric: Tensor, sizes: Tensor, *, cls: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the sources that stay (R, A - number) and that go (R, number), and to which of the destinations (R, number).

    Among equals the first destination takes, and the first source goes. Padding goes first of all, and nothing goes into padding that
    has another place.
    """
    starts, ends = _parts(cls)
    with torch.autocast(metric.device.type, enabled=False):
        unit = F.normalize(metric.float(), dim=-1)
        alike = unit[:, starts] @ unit[:, ends].mT
    best, to = alike.masked_fill((sizes[:, ends] == 0)[:, None], float("-inf")).max(dim=-1)
    padding = sizes[:, starts] == 0
    best, to = best.masked_fill(padding, float("inf")), to.masked_fill(padding, 0)
    gone, stay = best.argsort(dim=-1, descending=True, stable=True).tensor_split([number], dim=-1)
    return starts.start + 2 * stay.sort(dim=-1).values, starts.start + 2 * gone, to.gather(1, gone)


def _parts(cls: int) -> tuple[slice, slice]:
    """The even and the odd positions behind the class tokens."""
    return slice(cls + cls % 2, None, 2), slice(cls + 1 - cls % 2, None, 2)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """The entries of each row of x (R, S, ...) at places (R, k) -> (R, k, ...)."""
    taken: Tensor = x.flatten(0, 1).index_select(0, _flat(places, x.shape[1])).unflatten(0, places.shape)
    return taken


def _flat(places: Tensor, length: int) -> Tensor:
    """Places (R, k) in rows of a length -> (R*k,) in all rows, one behind the other."""
    return (places + length * torch.arange(len(places), device=places.device)[:, None]).flatten()
