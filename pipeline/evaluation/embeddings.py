"""The embeddings of a split as arrays and as a file. G videos, Q captions, K twins, E embedding."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core import hdf5
from pipeline.core.hdf5 import Refused, opened, written

ARRAYS = ("video", "text", "twin", "video_of_text", "twin_of", "directed", "mask")
NAMES = ("video_id", "caption_id", "action")


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors: `video` (G, E), `text` (Q, E), `twin` (K, E). `video_of_text` (Q,) and `twin_of` (K,) are rows of `video`.

    Where each query weighs the frames with a `temperature`, nothing is normalised and videos and twins are their frame features
    (G, T, E), (K, T, E). `mask` (G, T) tells real frames.
    `directed` (Q,) marks captions that name a direction of time; each of their videos has a twin. `action` (Q,): by what kind of
    action, "" where nobody says; empty in files from before it was said.
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
    action: list[str] = field(default_factory=list)


def save(target: Path, made: Embeddings, *, attributes: dict[str, str | int]) -> None:
    """Write embeddings to HDF5."""
    with written(target) as file:
        stored = {name: getattr(made, name) for name in ARRAYS} | {name: hdf5.texts(getattr(made, name)) for name in NAMES}
        for name, values in stored.items():
            hdf5.create(file, name, shape=values.shape, dtype=values.dtype)[:] = values
        hdf5.put_attributes(file, dict(sorted(attributes.items())))
        if made.temperature is not None:
            hdf5.put_attributes(file, {"temperature": made.temperature})


def load(source: Path) -> tuple[Embeddings, dict[str, str | int]]:
    """Read embeddings and their attributes. ValueError names a file that is not one of ours."""
    try:
        with opened(source) as file:
            arrays: dict[str, Any] = {name: file[name][:] for name in ARRAYS}
            names = {name: [str(x) for x in file[name].asstr()[:]] for name in NAMES if name in file or name != "action"}
            said = hdf5.attributes(file)
            temperature = float(said.pop("temperature")) if "temperature" in said else None
            attributes: dict[str, str | int] = {key: value if isinstance(value, str) else int(value) for key, value in said.items()}
    except Refused:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"{source} is not a readable file of embeddings ({error}); delete it and run rule embed again") from error
    return Embeddings(**(arrays | names), temperature=temperature), attributes
