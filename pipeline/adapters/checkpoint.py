"""Adapter checkpoints: the trained tensors and nothing else, with a header that says what they belong to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from pipeline.clip import OPENAI, FrozenClip
from pipeline.core.files import whole

# One key, because safetensors writes several in an order that changes from run to run.
KEY = "petl_vtr"


def save(target: Path, tensors: dict[str, Tensor], *, header: dict[str, Any]) -> None:
    """Write trained tensors and their header; equal contents give equal bytes."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(tensors.items())}
    with whole(target) as part:
        part.write_bytes(serialise(plain, metadata={KEY: json.dumps(header, sort_keys=True)}))


def read_header(source: Path) -> dict[str, Any]:
    """The header alone. ValueError if `source` is not an adapter checkpoint."""
    try:
        with safe_open(source, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})[KEY]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{source} is not an adapter checkpoint of this pipeline ({type(error).__name__}); train it again") from error


def backbone(clip: FrozenClip) -> dict[str, Any]:
    """What a header says of the backbone. Its preprocessing stands there where it is not OpenAI's, which older adapters do not say."""
    other = {} if clip.preprocessing == str(OPENAI) else {"preprocessing": clip.preprocessing}
    return {"backbone": clip.name, "backbone_digest": clip.digest} | other


def refuse_other_backbone(header: dict[str, Any], clip: FrozenClip, source: Path) -> None:
    """ValueError if the checkpoint `source` with this `header` belongs to other weights than `clip` has, or to other pictures."""
    if header["backbone_digest"] != clip.digest:
        raise ValueError(
            f"{source} was trained on backbone {header['backbone']} ({header['backbone_digest'][:12]}), "
            f"not on {clip.name} ({clip.digest[:12]}); use that backbone or train again"
        )
    seen = header.get("preprocessing", str(OPENAI))
    if seen != clip.preprocessing:
        raise ValueError(
            f"{source} was trained with {seen}, and {clip.name} has {clip.preprocessing} here; set backbone.mean, std, resize and "
            "interpolation to what it was trained with, or train again"
        )


def load_into(clip: FrozenClip, source: Path) -> dict[str, Any]:
    """Copy the tensors of `source` into `clip`, to which the same method must be attached; returns the header.

    ValueError if the checkpoint belongs to another backbone, or does not hold exactly the tensors that `clip` trains.
    """
    header = read_header(source)
    refuse_other_backbone(header, clip, source)
    with safe_open(source, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = clip.trained()
    for what, names in (("lacks", wanted.keys() - stored.keys()), ("holds the unknown", stored.keys() - wanted.keys())):
        if names:
            raise ValueError(
                f"{source} {what} {sorted(names)[0]!r} ({len(names)} such); the method's settings differ from the checkpoint's"
            )
    with torch.no_grad():
        for name, parameter in wanted.items():
            if parameter.shape != stored[name].shape:
                raise ValueError(f"{source}: {name!r} has shape {tuple(stored[name].shape)}, expected {tuple(parameter.shape)}")
            parameter.copy_(stored[name])
    return header


def checkpoint_bytes(trained: Mapping[str, Tensor]) -> int:
    """Bytes that `save` writes of these float32 tensors with an empty header: safetensors' index, padded to 8 bytes, and the data."""
    index: dict[str, Any] = {"__metadata__": {KEY: "{}"}}
    end = 0
    for name, tensor in sorted(trained.items()):
        start, end = end, end + tensor.numel() * tensor.element_size()
        index[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    length = len(json.dumps(index, separators=(",", ":")))
    return 8 + -(-length // 8) * 8 + end
