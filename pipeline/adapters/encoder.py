"""Many adapters on one frozen backbone, of which one is in place at a time: what a search encodes queries and videos with.

V videos, T frames a video, Q texts, E embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.adapters.swap import Attached, put, take
from pipeline.clip import load_backbone
from pipeline.config.parse import refuse_unknown
from pipeline.config.schema import Backbone, Train
from pipeline.config.settings import Sampling
from pipeline.core import record
from pipeline.evaluation import embed
from pipeline.inputs.split import refuse_empty
from pipeline.runtime.device import kernels


@dataclass(frozen=True)
class Encoded:
    """Videos as the similarity sees them.

    `video` (V, E): unit vectors, or None where queries weigh frames. `frames` (V, T, E): frame features as the method gives them, not
    normalised. `mask` (V, T): which frames are real.
    """

    video: np.ndarray | None
    frames: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class _Kept:
    """An adapter that is ready to be put in place."""

    header: dict[str, Any]
    sha256: str
    shape: Sampling
    settings: Train
    attached: Attached


class Encoder:
    """One frozen backbone and any number of adapters. Not for several threads at once: callers lock.

    Threads are the caller's (`torch.set_num_threads`). The pipeline evaluates with one, and another number may round sums differently.
    """

    def __init__(self, backbone: Backbone, *, device: torch.device) -> None:
        self.device = device
        self.clip = load_backbone(backbone).to(device)
        self._kept: dict[str, _Kept] = {}
        self._current: str | None = None

    def add(self, name: str, adapter: Path) -> dict[str, Any]:
        """Read an adapter and keep it ready under `name`, in place of a former one of that name; returns its header.

        ValueError if `adapter` is no checkpoint, belongs to another backbone, does not fit the code of its method, or has embeddings that
        depend on the videos beside them.
        """
        header = checkpoint.read_header(adapter)
        checkpoint.refuse_other_backbone(header, self.clip, adapter)
        said = checkpoint.parts(header, adapter)
        if methods.sees_batch(said.method):
            raise ValueError(
                f"{adapter}: embeddings of {header['run']} depend on the videos that are embedded with them, so they cannot be stored or "
                "searched; train it with a setting that looks at one video at a time"
            )
        self._kept[name] = _Kept(header, record.sha256(adapter), said.shape, said.train, self._attached(said, adapter))
        return header

    def _attached(self, said: checkpoint.Parts, adapter: Path) -> Attached:
        """The method of an adapter with its tensors, taken off again; nothing is in place afterwards."""
        self._clear()
        try:
            with torch.random.fork_rng(devices=[]):  # the checkpoint replaces what is drawn here
                checkpoint.attach(self.clip, said, adapter)
        except BaseException:
            self.clip.detach_all()
            raise
        self.clip.adapter.to(self.device)
        self.clip.eval()
        return take(self.clip)

    def names(self) -> list[str]:
        """The adapters, in the order in which they were added."""
        return list(self._kept)

    def header(self, name: str) -> dict[str, Any]:
        """The header of the checkpoint: run, config, shape, dataset, seed ..."""
        return self._of(name).header

    def sha256(self, name: str) -> str:
        """SHA-256 of the adapter's file, when it was read."""
        return self._of(name).sha256

    def temperature(self, name: str) -> float | None:
        """That of the weights of frames where each query has its own, else None."""
        return self._of(name).attached.query_temperature

    def shape(self, name: str) -> Sampling:
        """Of its header: frames, words, clips."""
        return self._of(name).shape

    def use(self, name: str) -> None:
        """Put an adapter in place of the one before: milliseconds, and bit for bit what a process with that adapter alone computes.

        Modules and hooks change places, and so do the values of CLIP's own tensors where a method trains them: nothing is copied.
        """
        kept = self._of(name)
        if self._current != name:
            self._clear()
            put(self.clip, kept.attached)
            self._current = name
        kernels(self.device, tf32=kept.settings.tf32, deterministic=kept.settings.deterministic)

    def _clear(self) -> None:
        if self._current is not None:
            take(self.clip)  # what it gives is kept already
            self._current = None

    def _of(self, name: str) -> _Kept:
        refuse_unknown(name, self.names(), what="there is no adapter", there="there are")
        return self._kept[name]

    @torch.no_grad()
    def texts(self, name: str, texts: Sequence[str]) -> np.ndarray:
        """(Q, E) float32, as `pipeline.evaluation.embed` makes `Embeddings.text`: unit vectors, or features where queries weigh frames."""
        if isinstance(texts, str):
            raise ValueError(f"texts are a list of sentences, not one: give [{texts!r}]")
        self.use(name)
        ids = self.clip.tokenize(list(texts), num_words=self._of(name).shape.words)
        features = [torch.empty(0, self.clip.embed_dim)]

        def encode(rows: np.ndarray) -> Tensor:
            return self.clip.encode_text(ids[rows].to(self.device))

        for made, _ in self._encoded(name, encode, number=len(ids), what="captions"):
            features.append(made.float().cpu())
        return embed.text_vectors(self.clip, torch.cat(features)).numpy()

    @torch.no_grad()
    def videos(self, name: str, frames: Tensor, mask: Tensor) -> Encoded:
        """Frames (V, T, 3, H, W) uint8 as the stores give them, with the mask (V, T) of the real ones, which come first.

        ValueError for frames of another number or size than the adapter was trained with, and for a video without a real frame.
        """
        shape = self._of(name).shape.frames
        wanted = (shape.number, 3, shape.size, shape.size)
        if frames.dtype != torch.uint8 or frames.shape[1:] != wanted or mask.shape != frames.shape[:2]:
            raise ValueError(
                f"adapter {name!r} sees frames (V, {', '.join(map(str, wanted))}) of uint8 with a mask (V, {shape.number}), "
                f"not {tuple(frames.shape)} of {str(frames.dtype).removeprefix('torch.')} with {tuple(mask.shape)}"
            )
        self.use(name)
        refuse_empty(mask, [f"number {row}" for row in range(len(mask))])
        features, vectors = [torch.empty(0, shape.number, self.clip.embed_dim)], [torch.empty(0, self.clip.embed_dim)]

        def encode(rows: np.ndarray) -> Tensor:
            return self.clip.encode_frames(frames[rows].to(self.device), mask=mask[rows].to(self.device))

        for made, rows in self._encoded(name, encode, number=len(frames), what="videos"):
            features.append(made.float().cpu())
            if self.clip.query_temperature is None:
                vectors.append(embed.video_vectors(self.clip, made, mask=mask[rows].to(self.device)).cpu())
        video = None if self.clip.query_temperature is not None else torch.cat(vectors).numpy()
        return Encoded(video=video, frames=torch.cat(features).numpy(), mask=mask.cpu().numpy())

    def _encoded(self, name: str, encode: Callable[[np.ndarray], Tensor], *, number: int, what: str) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Features of rows and these rows, as many at once as `pipeline.evaluation.embed` takes."""
        rows = np.arange(number)
        size = embed.at_once(rows, encode, device=self.device, what=what, chunk=self._of(name).settings.chunk)
        with embed.fitting(size, device=self.device, what=what):
            yield from ((encode(part), part) for part in embed.cut(rows, size))
