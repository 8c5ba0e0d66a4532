"""Methods to attach to CLIP: one file a method, or a family that is one idea. Nothing outside the folder knows a method by name."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import nn

from pipeline.clip import FrozenClip
from pipeline.config import registry
from pipeline.config.parse import parse, refuse_unknown


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


def sees_batch(method: Method) -> bool:
    """Whether an embedding depends on the videos beside it, which a method that has such a setting says as `sees_batch`."""
    return bool(getattr(method, "sees_batch", False))


def names() -> list[str]:
    """The methods, which are the files of this folder and the variants they name."""
    return sorted(registry.entries())


def load(run: str, *, config: Mapping[str, Any], where: str | None = None) -> Method:
    """The method of a run with its hyper-parameters. ValueError for an unknown method, key, type or value names the key in `where`."""
    name = registry.method_of(run)
    refuse_unknown(name, names(), what="unknown method", there="pipeline/methods/ has")
    entry = registry.entries()[name]
    schema: type[Method] = importlib.import_module(entry.module).METHOD
    return parse(schema, entry.sets | dict(config), where=where or f"methods.{run}.config")


def attach(clip: FrozenClip, method: Method, *, shape: Shape) -> FrozenClip:
    """Attach `method` to `clip`, which must be plain."""
    assert not clip.trained(), "detach the former method first"
    clip.refuse_words(shape.num_words)
    clip.adapter = method.attach(clip, shape)
    return clip
