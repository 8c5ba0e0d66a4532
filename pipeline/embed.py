"""A split through the two towers: one vector a video, a caption, and a twin."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.data import Split, reverse
from pipeline.embeddings import Embeddings
from pipeline.similarity import pool

BATCH = 64  # does not change an embedding


@torch.no_grad()
def embed(clip: FrozenClip, split: Split, *, device: torch.device) -> tuple[Embeddings, float]:
    """Embed a split; also the videos a second, twins included, reading and moving the frames included.

    Where queries weigh the frames, a video stays its frame features, and nothing is normalised.
    """
    clip.eval()
    everything, directed = np.arange(len(split.store)), np.unique(split.video[split.directed])
    start = time.perf_counter()
    video = _videos(clip, split, everything, device=device, turn=False)
    twin = _videos(clip, split, directed, device=device, turn=True)
    rate = (len(everything) + len(directed)) / (time.perf_counter() - start)
    text = torch.cat([clip.encode_text(ids.to(device)).cpu() for ids in torch.split(split.ids, BATCH)]).float()
    made = Embeddings(
        video=video,
        text=(text if clip.query_temperature is not None else F.normalize(text, dim=-1)).numpy(),
        twin=twin,
        video_id=split.store.video_ids,
        caption_id=split.caption_ids,
        video_of_text=split.video,
        twin_of=directed,
        directed=split.directed,
        mask=split.store.mask,
        temperature=clip.query_temperature,
    )
    return made, rate


def _videos(clip: FrozenClip, split: Split, rows: np.ndarray, *, device: torch.device, turn: bool) -> np.ndarray:
    weighed = clip.query_temperature is not None
    vectors: list[Tensor] = [torch.empty(0, split.store.mask.shape[1], clip.embed_dim) if weighed else torch.empty(0, clip.embed_dim)]
    for start in range(0, len(rows), BATCH):
        frames, mask = split.frames(rows[start : start + BATCH])
        if turn:
            frames = reverse(frames, mask=mask)
        mask = mask.to(device)
        features = clip.encode_frames(frames.to(device), mask=mask).float()
        vectors.append((features if weighed else pool(features, mask=mask)).cpu())
    return torch.cat(vectors).numpy()
