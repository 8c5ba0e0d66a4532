"""How far up a tower something is, and the towers between two levels.

Level 0 is the input: pixels or token ids. Level k from 1 up to below the number of blocks is all tokens after k blocks. Level `top`, the
number of blocks, is the one token that is read on (CLS, end of text), after all of them. Level `top + 1` is the feature, after the last
norm and the projection, before any head. Shapes: B videos or captions, T frames, L tokens, D width, E embedding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.clip.tower import Flow, Tower
from pipeline.core.layout import FEATURES


def title(level: int, *, top: int) -> str:
    """A level's name in params.yaml and in the name of a file."""
    return FEATURES if level > top else str(level)


def frames_at(level: int, seen: Tensor, visual: Any, tower: Tower, *, mask: Tensor, start: int) -> Tensor:
    """Frames with their mask (B, T) at `level`, computed from those at level `start`, which is lower.

    Level 0: normalised pixels (B, T, 3, H, W); then tokens (B, T, L, D), CLS tokens (B, T, D), features (B, T, E).
    """
    flow = Flow(num_frames=mask.shape[1], read=torch.zeros(len(mask), dtype=torch.long, device=mask.device), frame_mask=mask)
    x = seen.flatten(0, 1)
    if start == 0:
        tokens = visual.conv1(x).flatten(2).transpose(1, 2)
        first = visual.class_embedding.expand(tokens.shape[0], 1, -1)
        tokens = (torch.cat([first, tokens], dim=1) + visual.positional_embedding).to(seen.dtype)
        for hook in tower.embedding:
            tokens = hook(tokens, flow).to(seen.dtype)
        x = visual.ln_pre(tokens)
    if start < tower.top:
        x = tower.run(x, flow=flow, start=start, stop=level)
        x = x[:, 0] if level >= tower.top else x
    if level > tower.top:
        x = _feature(x, visual.ln_post, visual.proj)
    out: Tensor = x.unflatten(0, mask.shape)
    return out


def text_at(level: int, ids: Tensor, said: Tensor | None, model: nn.Module, tower: Tower, *, start: int, kind: torch.dtype) -> Tensor:
    """Captions with token ids (B, L) at `level`, computed in `kind` from those at level `start` (`said`, None for level 0).

    Tokens (B, L, D), end-of-text tokens (B, D), features (B, E).
    """
    clip: Any = model
    flow = Flow(num_frames=1, read=ids.argmax(dim=1))
    if said is None:
        assert start == 0, "above level 0 there is something to start from"
        tokens = clip.token_embedding(ids).to(kind)
        for hook in tower.embedding:
            tokens = hook(tokens, flow).to(kind)
        x = (tokens + clip.positional_embedding[: tokens.shape[1]]).to(kind)
    else:
        x = said
    if start < min(tower.top, level):
        flow.attn_mask = clip.attn_mask[: x.shape[1], : x.shape[1]]
        x = tower.run(x, flow=flow, start=start, stop=level)
        x = x[torch.arange(len(ids), device=ids.device), flow.read] if level >= tower.top else x
    if level > tower.top >= start:
        x = _feature(x, clip.ln_final, clip.text_projection)
    out: Tensor = x
    return out


def _feature(read: Tensor, norm: nn.Module, projection: Tensor) -> Tensor:
    """The tokens that are read on, normed and projected in the type of the projection, which is float32 whatever the blocks compute in."""
    with torch.autocast(read.device.type, enabled=False):
        feature: Tensor = norm(read.to(projection.dtype)) @ projection
    return feature
