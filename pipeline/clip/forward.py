"""How far up a tower something is, and the towers between two levels.

Level 0 is the input: pixels or token ids. Level k from 1 up to below the number of blocks is all tokens after k blocks. Level `top`, the
number of blocks, is the one vector that is read on, after all of them: the token of CLS or end of text, or the pool of all tokens with the
norm before it. Level `top + 1` is the feature, after the last norm, the projection and `tower.side`, before any head. Shapes: B videos or
captions, T frames, L tokens, D width, E embedding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.clip import architecture
from pipeline.clip.tower import Flow, Tower
from pipeline.core.layout import FEATURES


def title(level: int, *, top: int) -> str:
    """A level's name in params.yaml and in the name of a file."""
    return FEATURES if level > top else str(level)


def frames_at(level: int, seen: Tensor, visual: Any, tower: Tower, *, mask: Tensor, start: int) -> Tensor:
    """Frames with their mask (B, T) at `level`, computed from those at level `start`, which is lower.

    Level 0: normalised pixels (B, T, 3, H, W); then tokens (B, T, L, D), read vectors (B, T, D), features (B, T, E).
    """
    flow = Flow(num_frames=mask.shape[1], read=torch.zeros(len(mask), dtype=torch.long, device=mask.device), frame_mask=mask)
    flow.patches, flow.rotary = architecture.patches(visual), getattr(visual, "rotary", None)
    x = seen.flatten(0, 1)
    if start == 0:
        for hook in tower.pixels:
            x = hook(x, flow)
        tokens = architecture.begin(visual, x).to(seen.dtype)
        for hook in tower.embedding:
            tokens = hook(tokens, flow).to(seen.dtype)
        x = visual.ln_pre(tokens)
    tapped: list[Tensor] = []
    if start < tower.top:
        x, tapped = tower.run(x, flow=flow, start=start, stop=level)
        x = architecture.read(visual, x, flow) if level >= tower.top else x
    if level > tower.top:
        with torch.autocast(x.device.type, enabled=False):
            x = architecture.end(visual, _exact(x))
        x = x if tower.side is None else tower.side(x, tapped, flow)
    out: Tensor = x.unflatten(0, mask.shape)
    return out


def text_at(
    level: int,
    ids: Tensor,
    said: Tensor | None,
    model: nn.Module,
    tower: Tower,
    *,
    start: int,
    kind: torch.dtype,
    mask: Tensor | None = None,
) -> Tensor:
    """Captions with token ids (B, L) at `level`, computed in `kind` from those at level `start` (`said`, None for level 0).

    Tokens (B, L, D), the tokens that are read (B, D), features (B, E). With a `mask` (B, T) these are B*T captions of frames, which hooks
    can tell from single captions by it.
    """
    clip: Any = model
    flow = Flow(num_frames=1 if mask is None else mask.shape[1], read=architecture.read_at(ids, clip), frame_mask=mask)
    if said is None:
        assert start == 0, "above level 0 there is something to start from"
        tokens = clip.token_embedding(ids).to(kind)
        for hook in tower.embedding:
            tokens = hook(tokens, flow).to(kind)
        x = (tokens + clip.positional_embedding[: tokens.shape[1]]).to(kind)
    else:
        x = said
    tapped: list[Tensor] = []
    if start < min(tower.top, level):
        flow.attn_mask = None if clip.attn_mask is None else clip.attn_mask[: x.shape[1], : x.shape[1]]
        x, tapped = tower.run(x, flow=flow, start=start, stop=level)
        x = x[torch.arange(len(ids), device=ids.device), flow.read] if level >= tower.top else x
    if level > tower.top >= start:
        with torch.autocast(x.device.type, enabled=False):
            x = architecture.project(clip.ln_final(_exact(x)), clip.text_projection)
        x = x if tower.side is None else tower.side(x, tapped, flow)
    out: Tensor = x
    return out


def _exact(x: Tensor) -> Tensor:
    """Tokens to be read on, at least in float32, which features are whatever the blocks compute in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
