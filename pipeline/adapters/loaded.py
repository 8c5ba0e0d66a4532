"""One adapter as an object that encodes texts and video files: what `pipeline.load` gives."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.adapters import checkpoint
from pipeline.adapters.encoder import Encoder
from pipeline.config.params import load_params
from pipeline.config.parse import parse, stated
from pipeline.config.schema import Backbone
from pipeline.core import layout
from pipeline.runtime import device
from pipeline.video.files import read_video

NAME = "adapter"
BATCH = 32  # videos whose frames are in memory at once


class Adapter:
    """An adapter on its backbone; `header` says what it is. Vectors are compared by their dot product."""

    def __init__(self, adapter: Path, *, weights: str | Path | None, place: str, keys: Mapping[str, Any] | None = None) -> None:
        self.header: dict[str, Any] = checkpoint.read_header(adapter)
        named = backbone_of(adapter, self.header, weights)
        given = {key: value for key, value in (keys or {}).items() if value is not None}
        backbone = parse(Backbone, stated(named) | given, where="pipeline.load")
        self._encoder = Encoder(backbone, device=device.choose(place))
        self._encoder.add(NAME, adapter)
        shape = self._encoder.shape(NAME)
        self.frames, self.clips = shape.frames, shape.clips

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (Q, E) of sentences."""
        self._refuse_weighed()
        return self._encoder.texts(NAME, texts)

    def encode_videos(self, files: Sequence[str | Path]) -> np.ndarray:
        """Unit vectors (V, E) of video files. A file that cannot be decoded is a ValueError, one that is cut off or damaged a warning."""
        self._refuse_weighed()
        made = [np.empty((0, self._encoder.clip.embed_dim), np.float32)]
        for start in range(0, len(files), BATCH):
            seen = [self._read(Path(file)) for file in files[start : start + BATCH]]
            pictures, mask = (torch.from_numpy(np.stack(part)) for part in zip(*seen, strict=True))
            video = self._encoder.videos(NAME, pictures, mask).video
            assert video is not None
            made.append(video)
        return np.concatenate(made)

    def _read(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        pictures, mask, lack = read_video(file, clips=self.clips, frames=self.frames)
        if lack:
            warnings.warn(f"{file}: {lack}", stacklevel=3)
        return pictures, np.array(mask)

    def _refuse_weighed(self) -> None:
        if self._encoder.temperature(NAME) is not None:
            raise ValueError(
                "this adapter weighs frames by each query, so a video has no single vector; use pipeline.adapters.encoder.Encoder"
            )


def backbone_of(adapter: Path, header: dict[str, Any], weights: str | Path | None) -> Backbone:
    """The backbone of these weights, or that in the params.yaml beside the folder `runs/` that an adapter lies in, seen as its header says.

    ValueError if nothing names it.
    """
    if weights is not None:
        return checkpoint.backbone(header, adapter, str(weights))
    # Not resolved: the files of a DVC workspace may be links into its cache.
    for folder in adapter.absolute().parents:
        path = folder.parent / "params.yaml"
        if folder.name == layout.RUNS and path.is_file():
            backbone = load_params(path).backbone
            if backbone.name != header["backbone"]:
                raise ValueError(f"{adapter} was trained on backbone {header['backbone']}, and {path} names {backbone.name}; give weights")
            named = backbone.seen_from(folder.parent)
            return checkpoint.backbone(header, adapter, named.weights, tokenizer=named.tokenizer)
    raise ValueError(
        f"{adapter} does not lie in a runs/ folder beside a params.yaml that names its backbone {header['backbone']}; "
        "give weights: a file, or a tag of open_clip"
    )
