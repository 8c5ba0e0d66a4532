"""Features of a split's videos or captions from the frozen bottom of a tower, in one HDF5 file: computed once, read by every run.

The towers run in the clip's precision, which is noted. Shapes: B videos or captions, T frames, L tokens, D width, E embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import FrozenClip, forward
from pipeline.clip.tower import Tower
from pipeline.inputs.frames import ClipStore, FrameStore
from pipeline.inputs.writer import Column, Writer, write
from pipeline.runtime.explained import explained
from pipeline.runtime.loader import Stream
from pipeline.runtime.memory import rows_at_once

MOST = 32  # videos or captions of a pass where memory has room for them
SAID = ("recipe", "grid", "number", "size", "resize", "interpolation")  # of frames, in a file of what was made of them
# HDF5 has no bfloat16: its bits are stored as integers.
STORED = {"float16": "f2", "float32": "f4", "bfloat16": "i2"}


def write_videos(
    target: Path,
    source: ClipStore | FrameStore,
    *,
    clip: FrozenClip,
    level: int,
    dtype: str,
    attrs: dict[str, Any],
    made_from: Sequence[str] = (),
    workers: int = 0,
) -> None:
    """The videos of `source` at a level of the plain vision tower: tokens (V, T, ...) and mask (V, T), id the video ids.

    `dtype` is for levels of all tokens; what is one token a frame is stored in float32.

    `target` is there whole or not at all, and equal input gives equal bytes, whether the writing was killed on the way or not. Raises
    ValueError for a clip that does not decode and for a value that `dtype` cannot hold, OSError for a disk that is full.
    """
    dtype = _stored_as(dtype, level, clip.vision)
    number, side = source.num_frames, clip.image_size
    seen, mask = torch.zeros(1, number, 3, side, side).to(clip.mean), torch.ones(1, number).to(clip.mean) > 0
    example, size = _example(lambda: clip.frames_at(level, seen, mask=mask), target, clip.mean.device)
    columns = {"tokens": Column(tuple(example.shape[1:]), STORED[dtype]), "mask": Column((number,), "?", small=True)}
    described = attrs | _described(clip, clip.vision, level, dtype) | {k: v for k, v in source.attrs.items() if k in SAID}
    writer = Writer(target, ids=source.video_ids, columns=columns, attrs=described, made_from=[clip.digest, *made_from])

    @torch.no_grad()
    def batches() -> Iterator[dict[str, np.ndarray]]:
        wanted = _cut(writer.done, writer.total, size)
        for seen, mask in Stream(lambda rows: source.batch(rows.tolist()), wanted, device=clip.mean.device, workers=workers):
            yield {"tokens": _stored(clip.frames_at(level, seen, mask=mask), dtype, target), "mask": mask.cpu().numpy()}

    with explained(device=clip.mean.device, where=f"the writing of {target}"):
        write(writer, batches(), label=target.stem)


def write_texts(
    target: Path,
    captions: Sequence[str],
    *,
    caption_ids: Sequence[str],
    clip: FrozenClip,
    num_words: int,
    level: int,
    dtype: str,
    attrs: dict[str, Any],
    made_from: Sequence[str] = (),
) -> None:
    """The captions at a level of the plain text tower: tokens (C, ...) and token ids (C, L), id the caption ids.

    Written, and raises, as `write_videos`; `dtype` too.
    """
    dtype = _stored_as(dtype, level, clip.text)
    empty = clip.tokenize([""], num_words=num_words).to(clip.mean.device)
    example, size = _example(lambda: clip.text_at(level, empty), target, clip.mean.device)
    columns = {"tokens": Column(tuple(example.shape[1:]), STORED[dtype]), "ids": Column((num_words,), "i4", small=True)}
    described = attrs | _described(clip, clip.text, level, dtype) | {"words": num_words}
    writer = Writer(target, ids=caption_ids, columns=columns, attrs=described, made_from=[clip.digest, *captions, *made_from])

    @torch.no_grad()
    def batches() -> Iterator[dict[str, np.ndarray]]:
        for rows in _cut(writer.done, writer.total, size):
            ids = clip.tokenize([captions[row] for row in rows], num_words=num_words)
            tokens = clip.text_at(level, ids.to(clip.mean.device))
            yield {"tokens": _stored(tokens, dtype, target), "ids": ids.numpy()}

    with explained(device=clip.mean.device, where=f"the writing of {target}"):
        write(writer, batches(), label=target.stem)


def _stored_as(dtype: str, level: int, tower: Tower) -> str:
    """The type of a level: one token a frame or caption is little, and need not be rounded. ValueError for a level that is none."""
    if not 1 <= level <= tower.top + 1:
        raise ValueError(f"the {tower.name} tower has {tower.top} blocks; tokens@{level} of it do not exist")
    return dtype if level < tower.top else "float32"


def _described(clip: FrozenClip, tower: Tower, level: int, dtype: str) -> dict[str, Any]:
    """Description of a file of tokens, on which it and its reader must agree."""
    described = {"tower": tower.name, "level": forward.title(level, top=tower.top), "backbone": clip.name, "backbone_digest": clip.digest}
    described |= {"precision": clip.precision}
    return described | {"dtype": dtype} | ({"preprocessing": clip.preprocessing} if tower is clip.vision else {})


def _example(one: Callable[[], Tensor], target: Path, device: torch.device) -> tuple[Tensor, int]:
    """One row at the level that is written to `target`, and how many of them go through the tower at once."""
    made: list[Tensor] = []
    with explained(device=device, where=f"the writing of {target}"):
        size = rows_at_once(lambda: made.append(one()), device=device, most=MOST)
    return made[0], size


def _cut(first: int, total: int, size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + size, total)) for start in range(first, total, size)]


def _stored(tokens: Tensor, dtype: str, target: Path) -> np.ndarray:
    """Tokens as they are stored. ValueError for a value that `dtype` cannot hold."""
    values = tokens.to(getattr(torch, dtype)).cpu()
    if not bool(torch.isfinite(values).all()):
        largest = float(tokens.abs().nan_to_num(nan=float("inf")).max())
        raise ValueError(f"{target}: a value of {largest:g} cannot be stored as {dtype}; set cache.dtype: bfloat16 or float32")
    return (values.view(torch.int16) if dtype == "bfloat16" else values).numpy()
