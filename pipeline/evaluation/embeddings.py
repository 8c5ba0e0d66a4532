"""The embeddings of a split as arrays and as a file. G videos, Q captions, K twins, E embedding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.core.hdf5 import Refused, opened, written

ARRAYS = ("video", "text", "twin", "video_of_text", "twin_of", "directed", "mask")


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors: `video` (G, E), `text` (Q, E), `twin` (K, E). `video_of_text` (Q,) and `twin_of` (K,) are rows of `video`.

    Where each query weighs the frames with a `temperature`, nothing is normalised and videos and twins are their frame features
    (G, T, E), (K, T, E). `mask` (G, T) tells real frames.
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
    mask: np.ndarray
    temperature: float | None = None


def save(target: Path, made: Embeddings, *, attributes: dict[str, str | int]) -> None:
    """Write embeddings to HDF5."""
    with written(target) as file:
        for name in ARRAYS:
            file.create_dataset(name, data=getattr(made, name), track_times=False)
        for name in ("video_id", "caption_id"):
            file.create_dataset(name, data=np.array(getattr(made, name), dtype=h5py.string_dtype()), track_times=False)
        for name, value in sorted(attributes.items()):
            file.attrs[name] = value
        if made.temperature is not None:
            file.attrs["temperature"] = made.temperature


def load(source: Path) -> tuple[Embeddings, dict[str, str | int]]:
    """Read embeddings and their attributes. ValueError names a file that is not one of ours."""
    try:
        with opened(source) as file:
            arrays: dict[str, Any] = {name: file[name][:] for name in ARRAYS}
            names = {name: [str(x) for x in file[name].asstr()[:]] for name in ("video_id", "caption_id")}
            temperature = float(file.attrs["temperature"]) if "temperature" in file.attrs else None
            attributes = {str(k): v if isinstance(v, str) else int(v) for k, v in file.attrs.items() if k != "temperature"}
    except Refused:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"{source} is not a readable file of embeddings ({error}); delete it and run rule embed again") from error
    return Embeddings(**(arrays | names), temperature=temperature), attributes
