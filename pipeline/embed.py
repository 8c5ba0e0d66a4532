"""A split through the two towers: one vector a video, a caption, and a twin. G videos, Q captions, K twins, E embedding."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.data import Split, reverse
from pipeline.files import whole
from pipeline.similarity import pool

BATCH = 64  # does not change an embedding


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors: `video` (G, E), `text` (Q, E), `twin` (K, E). `video_of_text` (Q,) and `twin_of` (K,) are rows of `video`.

    `directed` (Q,) marks captions that name a direction of time; each of their videos has a twin.
    """

    video: np.ndarray
    text: np.ndarray
    twin: np.ndarray
    video_id: list[str]
    caption_id: list[str]
    video_of_text: np.ndarray
    twin_of: np.ndarray
    directed: np.ndarray


@torch.no_grad()
def embed(clip: FrozenClip, split: Split, *, device: torch.device) -> tuple[Embeddings, float]:
    """Embed a split; also the videos a second, twins included, reading and moving the frames included."""
    clip.eval()
    everything, directed = np.arange(len(split.store)), np.unique(split.video[split.directed])
    start = time.perf_counter()
    video = _videos(clip, split, everything, device=device, turn=False)
    twin = _videos(clip, split, directed, device=device, turn=True)
    rate = (len(everything) + len(directed)) / (time.perf_counter() - start)
    text = [F.normalize(clip.encode_text(ids.to(device)), dim=-1).cpu() for ids in torch.split(split.ids, BATCH)]
    made = Embeddings(
        video=video,
        text=torch.cat(text).float().numpy(),
        twin=twin,
        video_id=split.store.video_ids,
        caption_id=split.caption_ids,
        video_of_text=split.video,
        twin_of=directed,
        directed=split.directed,
    )
    return made, rate


def _videos(clip: FrozenClip, split: Split, rows: np.ndarray, *, device: torch.device, turn: bool) -> np.ndarray:
    vectors: list[Tensor] = [torch.empty(0, clip.model.visual.proj.shape[1])]
    for start in range(0, len(rows), BATCH):
        frames, mask = split.frames(rows[start : start + BATCH])
        if turn:
            frames = reverse(frames, mask=mask)
        mask = mask.to(device)
        vectors.append(pool(clip.encode_frames(frames.to(device), mask=mask), mask=mask).cpu())
    return torch.cat(vectors).float().numpy()


def save(target: Path, made: Embeddings, *, attributes: dict[str, str | int]) -> None:
    """Write embeddings to HDF5."""
    with whole(target) as part, h5py.File(part, "w") as file:
        for name in ("video", "text", "twin", "video_of_text", "twin_of", "directed"):
            file.create_dataset(name, data=getattr(made, name), track_times=False)
        for name in ("video_id", "caption_id"):
            file.create_dataset(name, data=np.array(getattr(made, name), dtype=h5py.string_dtype()), track_times=False)
        for name, value in sorted(attributes.items()):
            file.attrs[name] = value


def load(source: Path) -> tuple[Embeddings, dict[str, str | int]]:
    """Read embeddings and their attributes. ValueError names a file that is not one of ours."""
    try:
        with h5py.File(source, "r") as file:
            arrays: dict[str, Any] = {name: file[name][:] for name in ("video", "text", "twin", "video_of_text", "twin_of", "directed")}
            names = {name: [str(x) for x in file[name].asstr()[:]] for name in ("video_id", "caption_id")}
            attributes = {str(k): v if isinstance(v, str) else int(v) for k, v in file.attrs.items()}
    except (OSError, KeyError) as error:
        raise ValueError(f"{source} is not a readable file of embeddings ({error}); delete it and run rule embed again") from error
    return Embeddings(**(arrays | names)), attributes
