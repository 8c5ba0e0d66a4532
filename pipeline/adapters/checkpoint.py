"""Adapter checkpoints: the trained tensors and nothing else, with a header that says what they belong to.

Whatever is wrong with a header, which may be a stranger's, is one sentence that names the file.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from pipeline import methods
from pipeline.clip import OPENAI, FrozenClip, configuration, seen_as
from pipeline.config.parse import parse, shown
from pipeline.config.schema import Backbone, Train
from pipeline.config.settings import Sampling
from pipeline.core.files import whole
from pipeline.methods.parts.generated import Generated

# What every header says, and what it takes.
SAYS: dict[str, type] = {
    "run": str,
    "config": dict,
    "shape": dict,
    "train": dict,
    "dataset": str,
    "seed": int,
    "backbone": str,
    "backbone_digest": str,
}
# What it says besides of a backbone whose pictures or words are not OpenAI's, and of matrices that a seed made.
MAY_SAY: dict[str, type] = {"preprocessing": str, "tokenizer": dict, "generated": dict}
WORDS = {str: "text", dict: "keys with values", int: "a whole number"}
SHAPE = ("frames", "words", "clips")  # how videos of one's own become what the adapter was trained on

# One key, because safetensors writes several in an order that changes from run to run.
KEY = "petl_vtr"


def save(target: Path, tensors: dict[str, Tensor], *, header: dict[str, Any]) -> None:
    """Write trained tensors and their header; equal contents give equal bytes."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(tensors.items())}
    with whole(target) as part:
        part.write_bytes(serialise(plain, metadata={KEY: json.dumps(header, sort_keys=True)}))


class Parts(NamedTuple):
    """The settings in a header: sampling, training, and the method with its hyper-parameters."""

    shape: Sampling
    train: Train
    method: methods.Method


def read_header(source: Path, *, also: Sequence[str] = ()) -> dict[str, Any]:
    """The header alone: what SAYS names, and the keys `also`. ValueError if `source` is not an adapter checkpoint, or one is not so."""
    try:
        with safe_open(source, framework="pt") as file:
            header = json.loads((file.metadata() or {})[KEY])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not an adapter checkpoint of this pipeline ({type(error).__name__}); train it again") from error
    _refuse_other(source, "its header", header, dict)
    _refuse_lack(source, header, [*SAYS, *also])
    for key, kind in (SAYS | {key: kind for key, kind in MAY_SAY.items() if key in header}).items():
        _refuse_other(source, key, header[key], kind)
    if header["seed"].bit_length() > 63:
        raise ValueError(f"{source}: seed is {header['seed']:.3g}, which no random generator takes; train it again")
    return dict(header)


def parts(header: Mapping[str, Any], source: Path) -> Parts:
    """The settings in the header of `source`. ValueError if they do not fit the code."""
    _refuse_lack(source, header["shape"], SHAPE, of="shape: ")
    with _of(source):
        return Parts(
            shape=parse(Sampling, header["shape"], where="shape"),
            train=parse(Train, header["train"], where="train"),
            method=methods.load(header["run"], config=header["config"], where="config"),
        )


def backbone(header: Mapping[str, Any], source: Path, weights: str, *, tokenizer: str = "") -> Backbone:
    """The backbone that the header of `source` names, with these weights, and pictures and words as it says.

    The folder of a tokeniser is `tokenizer`, else the header's where that is there, else the hub's cache. ValueError for an architecture
    that there is not.
    """
    with _of(source):
        configuration(header["backbone"])
        found = seen_as(header["backbone"], weights, header.get("preprocessing", str(OPENAI)))
    folder = str(header.get("tokenizer", {}).get("folder", ""))
    there = os.path.isdir(folder)  # noqa: PTH112 - a Path raises for a name that is too long
    return replace(found, tokenizer=tokenizer or (folder if there else ""))


def attach(clip: FrozenClip, said: Parts, source: Path) -> None:
    """Attach the method of `source` with its tensors to `clip`, which must be plain. ValueError if they do not fit."""
    with _of(source):
        methods.attach(clip, said.method, shape=methods.Shape(said.shape.frames.number, said.shape.words))
    load_into(clip, source)


@contextmanager
def _of(source: Path) -> Iterator[None]:
    """Errors of the code over a header are told as a fault of its file."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, ArithmeticError) as error:
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{source}: {why}; use the code that trained it, or train it again") from error


def _refuse_lack(source: Path, values: Mapping[str, Any], keys: Sequence[str], *, of: str = "") -> None:
    absent = [f"{of}{key}" for key in keys if key not in values]
    if absent:
        raise ValueError(f"{source}: its header lacks {', '.join(absent)}; train it again")


def _refuse_other(source: Path, what: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{source}: {what} is {shown(value)}; it takes {WORDS[kind]}; train it again")


def precision(header: dict[str, Any]) -> str:
    """The type in which an adapter was trained and validated; one from before this was noted says it among its settings."""
    return str(header.get("precision") or header["train"]["precision"])


def described(clip: FrozenClip) -> dict[str, Any]:
    """A header's notes on the backbone, and on matrices that a seed made. Pictures and words stand there where they are not OpenAI's,
    which older adapters do not say."""
    other = {} if clip.preprocessing == str(OPENAI) else {"preprocessing": clip.preprocessing}
    words = clip.tokenizer.described()
    return {"backbone": clip.name, "backbone_digest": clip.digest} | other | ({"tokenizer": words} if words else {}) | _generated(clip)


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
    words, own = header.get("tokenizer", {}), clip.tokenizer.described()
    if words.get("digest") != own.get("digest"):
        raise ValueError(
            f"{source} was trained with {_tokeniser(words)}, and {clip.name} has {_tokeniser(own)} here; set backbone.tokenizer to the "
            "folder of the one that it was trained with, or train again"
        )


def _generated(clip: FrozenClip) -> dict[str, Any]:
    """The seed and the SHA-256 of matrices that are not stored, of a method that has such."""
    made = next((module for module in clip.adapter.modules() if isinstance(module, Generated)), None)
    return {"generated": {"seed": made.seed, "sha256": made.sha256()}} if made else {}


def _refuse_other_matrices(header: dict[str, Any], clip: FrozenClip, source: Path) -> None:
    """ValueError if the frozen matrices that a seed makes here are not those of the training."""
    said, own = header.get("generated", {}), _generated(clip).get("generated", {})
    if said.get("sha256") != own.get("sha256"):
        raise ValueError(
            f"{source} was trained with {_matrices(said)}, and here are {_matrices(own)}; attach the method with the seed of the training, "
            "with the version of torch that drew them, or train again"
        )


def _matrices(of: Mapping[str, Any]) -> str:
    if not of:
        return "no generated matrices"
    return f"matrices of seed {shown(of.get('seed'))} ({str(of.get('sha256'))[:12]})"


def _tokeniser(words: Mapping[str, Any]) -> str:
    if not words:
        return "CLIP's tokeniser"
    name, folder, digest = (shown(words.get(key, "")) for key in ("name", "folder", "digest"))
    return f"the tokeniser {name} of folder {folder} ({digest})"


def load_into(clip: FrozenClip, source: Path) -> dict[str, Any]:
    """Copy the tensors of `source` into `clip`, to which the same method must be attached; returns the header.

    ValueError if the checkpoint belongs to another backbone, to other generated matrices, or does not hold exactly what `clip` stores.
    """
    header = read_header(source)
    refuse_other_backbone(header, clip, source)
    _refuse_other_matrices(header, clip, source)
    with safe_open(source, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = clip.stored()
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
