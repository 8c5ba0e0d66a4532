"""A split through the two towers: one vector a video, a caption, and a twin."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.evaluation.embeddings import Embeddings
from pipeline.evaluation.similarity import pool
from pipeline.inputs.split import Split, reverse
from pipeline.runtime.distributed import ALONE, Team
from pipeline.runtime.loader import Stream

BATCH = 64  # does not change an embedding


@torch.no_grad()
def embed(clip: FrozenClip, split: Split, *, device: torch.device, workers: int = 0, team: Team = ALONE) -> Embeddings:
    """Embed a split, from where it is stored. Where queries weigh the frames, a video stays its frame features, and nothing is normalised.

    `workers` as in `Stream`. Each process of a `team` embeds its part, and all have the whole.
    """
    clip.eval()
    everything, directed = np.arange(len(split.store)), np.unique(split.video[split.directed])
    video, mask = _videos(clip, split, everything, device=device, workers=workers, team=team, turn=False)
    twin, _ = _videos(clip, split, directed, device=device, workers=workers, team=team, turn=True)
    rows = np.arange(len(split.ids))
    captions = Stream(split.texts, cut(team.share(rows)), device=device, workers=0)
    said = torch.cat([torch.empty(0, clip.embed_dim), *(split.encode_texts(clip, batch).float().cpu() for batch in captions)])
    text = team.gather(said, total=len(rows))
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
    )


def video_vectors(clip: FrozenClip, features: Tensor, *, mask: Tensor) -> Tensor:
    """Frame features (B, T, E) and their mask (B, T) -> unit vectors (B, E), or the features where queries weigh them; float32."""
    return features.float() if clip.query_temperature is not None else pool(features.float(), mask=mask)


def text_vectors(clip: FrozenClip, features: Tensor) -> Tensor:
    """Text features (B, E) -> unit vectors, or the features where queries weigh frames."""
    return features if clip.query_temperature is not None else F.normalize(features, dim=-1)


def _videos(
    clip: FrozenClip, split: Split, rows: np.ndarray, *, device: torch.device, workers: int, team: Team, turn: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (B, E), or frame features (B, T, E) where queries weigh them, and frame masks (B, T)."""
    weighed, frames = clip.query_temperature is not None, split.store.num_frames
    vectors: list[Tensor] = [torch.empty(0, *((frames,) if weighed else ()), clip.embed_dim)]
    masks = [torch.empty(0, frames, dtype=torch.bool)]
    for batch in Stream(split.videos, cut(team.share(rows)), device=device, workers=workers):
        shown = batch._replace(seen=reverse(batch.seen, mask=batch.mask)) if turn else batch
        vectors.append(video_vectors(clip, split.encode_videos(clip, shown), mask=batch.mask).cpu())
        masks.append(batch.mask.cpu())
    vector, mask = (team.gather(torch.cat(parts), total=len(rows)).numpy() for parts in (vectors, masks))
    return vector, mask


def cut(rows: np.ndarray) -> list[np.ndarray]:
    """Rows in batches."""
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
