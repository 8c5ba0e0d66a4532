"""petl-vtr: a reproducible comparison of ways to adapt CLIP to video-text retrieval."""

from importlib import import_module
from pathlib import Path
from typing import Any


def load(adapter: str | Path, weights: str | Path | None = None, device: str = "auto", **keys: Any) -> Any:
    """A trained adapter on its backbone, a `pipeline.adapters.loaded.Adapter`: `encode_texts(sentences)`, `encode_videos(files)`.

    `weights`: the backbone's file or open_clip tag; without it, the one that the params.yaml beside the adapter's `runs/` folder names.
    `keys`: of the backbone (`mean`, `std`, `resize`, `interpolation`, `tokenizer`), which the adapter knows itself; a folder of a tokeniser
    may be another one here. Raises ValueError for a file that is no adapter, and for weights, pictures or words that it was not trained on.
    """
    # By name, so that `import pipeline` stays free of torch, and no stage seems to depend on this (pipeline/core/code.py).
    return import_module("pipeline.adapters.loaded").Adapter(Path(adapter), weights=weights, place=device, keys=keys)
