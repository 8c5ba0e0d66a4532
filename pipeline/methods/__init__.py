"""Methods to attach to CLIP: one file a method, or a family that is one idea. Nothing outside the folder knows a method by name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from pipeline.clip import FrozenClip
from pipeline.config import registry


@dataclass(frozen=True)
class Shape:
    """Shape of the data, on which a method may depend besides CLIP: T frames a video, and tokens a caption (start and end included)."""

    num_frames: int
    num_words: int


class Method(Protocol):
    """A frozen dataclass of hyper-parameters that attaches modules to the two towers.

    `paper` is the source, `identity_at_init` whether the adapted towers equal CLIP before training, `sees_time` whether the order
    of frames can change a video's embedding.
    """

    paper: ClassVar[str]

    @property
    def identity_at_init(self) -> bool: ...

    @property
    def sees_time(self) -> bool: ...

    def attach(self, clip: FrozenClip, shape: Shape) -> nn.Module:
        """Set hooks on the towers, ask for tensors of CLIP to be trained, and return the new modules."""
        ...


def names() -> list[str]:
    """The methods, which are the files of this folder and the variants they name."""
    return sorted(registry.entries())


def load(run: str, *, config: Mapping[str, Any]) -> Method:
    """The method of a run with its hyper-parameters. ValueError for an unknown method, key, type or value."""
    entry = registry.entries().get(registry.method_of(run))
    if entry is None:
        raise ValueError(f"unknown method {registry.method_of(run)!r}; pipeline/methods/ has: {', '.join(names())}")
    module = importlib.import_module(entry.module)
    try:
        chosen = OmegaConf.merge(OmegaConf.structured(module.METHOD), entry.sets, dict(config))
        method: Method = module.METHOD(**{str(k): v for k, v in OmegaConf.to_container(chosen).items()})  # type: ignore[union-attr]
    except OmegaConfBaseException as error:
        raise ValueError(f"methods.{run}.config: {str(error).splitlines()[0]}") from error
    return method


def attach(clip: FrozenClip, method: Method, *, shape: Shape) -> FrozenClip:
    """Attach `method` to `clip`, which must be plain."""
    assert not clip.trained(), "detach the former method first"
    clip.refuse_words(shape.num_words)
    clip.adapter = method.attach(clip, shape)
    return clip
