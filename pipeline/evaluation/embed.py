"""A split through the two towers: one vector a video, a caption, and a twin."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.similarity import pool
from pipeline.inputs.directions import reverse
from pipeline.inputs.frames import Videos
from pipeline.inputs.split import Split
from pipeline.runtime.distributed import ALONE, Team
from pipeline.runtime.explained import ELSEWHERE, explained
from pipeline.runtime.loader import Stream
from pipeline.runtime.memory import rows_at_once

MOST = 64  # rows at once where memory has room for them; how many they are does not change an embedding


@torch.no_grad()
def embed(clip: FrozenClip, split: Split, *, device: torch.device, workers: int = 0, team: Team = ALONE, chunk: int = 0) -> Embeddings:
    """Embed a split, from where it is stored. Where queries weigh the frames, a video stays its frame features, and nothing is normalised.

    `workers` as in `Stream`, `chunk` as in `at_once`. Each process of a `team` embeds its part, and all have the whole. Raises OutOfMemory.
    """
    clip.eval()
    everything, directed = np.arange(len(split.store)), np.unique(split.video[split.directed])
    size = at_once(everything, lambda rows: _features(clip, split, rows, device), device=device, what="videos", chunk=chunk)
    with fitting(size, device=device, what="videos"):
        video, mask = _videos(clip, split, everything, size=size, device=device, workers=workers, team=team, turn=False)
        twin, _ = _videos(clip, split, directed, size=size, device=device, workers=workers, team=team, turn=True)
    text = _texts(clip, split, device=device, team=team, chunk=chunk)
    return Embeddings(
        video=video,
        text=text_vectors(clip, text).numpy(),
        twin=twin,
        video_id=split.store.video_ids,
        caption_id=split.caption_ids,
        video_of_text=split.video,
        twin_of=directed,
        directed=split.directed,
        mask=mask,
        temperature=clip.query_temperature,
        action=split.action,
    )


def video_vectors(clip: FrozenClip, features: Tensor, *, mask: Tensor) -> Tensor:
    """Frame features (B, T, E) and their mask (B, T) -> unit vectors (B, E), or the features where queries weigh them; float32."""
    features = features.float()
    return features if clip.query_temperature is not None else pool(features, mask=mask, weigh=clip.frame_weights)


def text_vectors(clip: FrozenClip, features: Tensor) -> Tensor:
    """Text features (B, E) -> unit vectors, or the features where queries weigh frames."""
    return features if clip.query_temperature is not None else F.normalize(features, dim=-1)


def at_once(rows: np.ndarray, encode: Callable[[np.ndarray], object], *, device: torch.device, what: str, chunk: int = 0) -> int:
    """How many of `rows` go through a tower at once: as many as fit, measured by the first one, and at most `chunk` if it is not 0."""
    if len(rows) < 2:
        return 1
    with fitting(1, device=device, what=what):
        return rows_at_once(lambda: encode(rows[:1]), device=device, most=min(chunk or MOST, MOST))


def fitting(size: int, *, device: torch.device, what: str) -> AbstractContextManager[None]:
    """A block in which so many rows go through a tower at once: the end of memory is explained (`explained`)."""
    advice = f"set train.chunk: {size // 2} (now {size} {what} at once), or {ELSEWHERE}" if size > 1 else ELSEWHERE
    return explained(device=device, where=f"the embedding of {what}", advice=advice)


def _features(clip: FrozenClip, split: Split, rows: np.ndarray, device: torch.device) -> Tensor:
    seen, mask = (part.to(device) for part in split.videos(rows))
    return split.encode_videos(clip, Videos(seen, mask))


def _texts(clip: FrozenClip, split: Split, *, device: torch.device, team: Team, chunk: int) -> Tensor:
    """Text features (C, E), not normalised."""
    rows = np.arange(len(split.ids))

    def encode(wanted: list[np.ndarray]) -> list[Tensor]:
        return [split.encode_texts(clip, batch).float().cpu() for batch in Stream(split.texts, wanted, device=device, workers=0)]

    size = at_once(rows, lambda first: encode([first]), device=device, what="captions", chunk=chunk)
    with fitting(size, device=device, what="captions"):
        said = torch.cat([torch.empty(0, clip.embed_dim), *encode(cut(team.share(rows), size))])
    return team.gather(said, total=len(rows))


def _videos(
    clip: FrozenClip, split: Split, rows: np.ndarray, *, size: int, device: torch.device, workers: int, team: Team, turn: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (B, E), or frame features (B, T, E) where queries weigh them, and frame masks (B, T)."""
    weighed, frames = clip.query_temperature is not None, split.store.num_frames
    vectors: list[Tensor] = [torch.empty(0, *((frames,) if weighed else ()), clip.embed_dim)]
    masks = [torch.empty(0, frames, dtype=torch.bool)]
    for batch in Stream(split.videos, cut(team.share(rows), size), device=device, workers=workers):
        shown = batch._replace(seen=reverse(batch.seen, mask=batch.mask)) if turn else batch
        vectors.append(video_vectors(clip, split.encode_videos(clip, shown), mask=batch.mask).cpu())
        masks.append(batch.mask.cpu())
    vector, mask = (team.gather(torch.cat(parts), total=len(rows)).numpy() for parts in (vectors, masks))
    return vector, mask


def cut(rows: np.ndarray, size: int = MOST) -> list[np.ndarray]:
    """Rows in batches."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
