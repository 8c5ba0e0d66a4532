"""A file of weights in the forms in which people have them, read as the state of open_clip's CLIP (docs/running.md#backbones).

The kind of a file follows from its content, not from its name: a blob of the hub's cache has no ending. Nothing in a file is run.
"""

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.clip import torchscript
from pipeline.clip.architecture import FOREIGN, renamed, respelt

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")  # where a training keeps the state, the first one first
HEADER = 100_000_000  # bytes that safetensors allows for its header
PIECE = 2**24  # numbers that are hashed at a time
LEVELS = 3  # of dicts within dicts that are looked into
INSIDE = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # what torch adds, in front of any part of a name
COMPUTED = {"input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids"}  # stored beside weights, not learned
# A tensor where the vision tower starts, by whose name a CLIP is found, and with it what stands in front of all its names.
FIRST = re.compile(
    r"(?P<prefix>(.*\.)?)(?P<rest>visual\.conv1\.weight|visual\.trunk\.pos_embed|vision_model\.embeddings\.patch_embedding\.weight)"
)
HF = "Hugging Face's CLIPModel"
# From Hugging Face's names to open_clip's, one after the other.
RENAMED = (
    (r"^vision_model\.", "visual."),
    (r"^text_model\.", ""),
    (r"(^|\.)encoder\.layers\.", r"\1transformer.resblocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"(^|\.)embeddings\.position_embedding\.weight$", r"\1positional_embedding"),
    (r"(^|\.)embeddings\.patch_embedding\.", r"\1conv1."),
    (r"(^|\.)embeddings\.", r"\1"),
    (r"^visual\.pre_layrnorm\.", "visual.ln_pre."),  # so spelt
    (r"^visual\.post_layernorm\.", "visual.ln_post."),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"^text_projection\.weight$", "text_projection"),
)


def read(path: Path) -> tuple[State, str]:
    """The tensors of the one CLIP in `path` by open_clip's names, and the form that was found, in words.

    What belongs to no CLIP keeps its name. Raises ValueError that says what the file is instead, and what to do.
    """
    stored, form = _stored(path)
    found = {place: state for place, state in _states(stored) if _prefixes(state)}
    if not found:
        raise ValueError(f"{form} without a CLIP of two ViT towers: {_keys(stored)}")
    place = _chosen(list(found), form)
    state = found[place]
    prefixes = _prefixes(state)
    if len(prefixes) > 1:
        raise ValueError(f"{form} with several CLIPs ({', '.join(map(repr, prefixes))}); save the state of one alone")
    words = [form, *(f"under {key!r}" for key in place), *(f"with {prefix!r} in front of its names" for prefix in prefixes if prefix)]
    state = {name.removeprefix(prefixes[0]): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if name.rpartition(".")[2] not in COMPUTED}
    if "vision_model.embeddings.patch_embedding.weight" in state:
        return _from_hugging_face(state), ", ".join([*words, f"by the names of {HF}"])
    if any(name.startswith(FOREIGN) for name in state):
        return renamed(state), ", ".join([*words, "by the names of open_clip's CustomTextCLIP"])
    return state, ", ".join(words)


def _stored(path: Path) -> tuple[Any, str]:
    """The content of a file, and its kind in words. ValueError for one that is none of torch's or safetensors'."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < HEADER:
        return load_file(path), "a safetensors file"
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if torchscript.is_archive(archive):
                return torchscript.read(path), "a TorchScript archive"
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                raise ValueError(f"a zip without weights of torch: it holds {first_three(archive.namelist())}")
    elif head.startswith(b"PK"):
        raise ValueError("a zip without its end; fetch it again")
    elif not head.startswith(b"\x80"):
        raise ValueError(
            f"a file that begins with {head[:24]!r}, as none of torch.save or safetensors does; name the file of the weights itself, "
            "not an index, a page or a pointer to it"
        )
    return _unpickled(path), "a file of torch.save"


def _unpickled(path: Path) -> Any:
    """The content of a file of torch.save, if that is tensors, numbers and texts in dicts and lists: all else would need code to be run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().splitlines()[:1]
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked is None:
            raise ValueError(
                f"a file of torch.save that cannot be read: {' '.join(reason) or 'its pickle is broken'}; fetch it again"
            ) from error
        raise ValueError(
            f"a file of torch.save with Python objects ({asked[1]}), a whole module or settings beside the weights, which only code could "
            "read; where you trust it, save the tensors alone, torch.save(model.state_dict(), file), and name that file"
        ) from error


def _states(stored: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], State]]:
    """Every dict of tensors within dicts, by the keys that lead to it."""
    if not isinstance(stored, Mapping):
        return
    names = {name: value for name, value in stored.items() if isinstance(name, str)}
    yield place, {INSIDE.sub("", name): value for name, value in names.items() if isinstance(value, Tensor)}
    if len(place) < LEVELS:
        for name, value in names.items():
            yield from _states(value, (*place, name))


def _chosen(places: list[tuple[str, ...]], form: str) -> tuple[str, ...]:
    """The state that is meant if a training keeps several, such as an average: the one under the most usual key."""

    def rank(place: tuple[str, ...]) -> int:
        return max((WRAPPERS.index(key) if key in WRAPPERS else len(WRAPPERS) for key in place), default=0)

    best = [place for place in places if rank(place) == min(map(rank, places))]
    if len(best) > 1:
        raise ValueError(f"{form} with several CLIPs ({', '.join('/'.join(place) for place in best)}); save the state of one alone")
    return best[0]


def _prefixes(state: State) -> list[str]:
    return [found["prefix"] for found in map(FIRST.fullmatch, state) if found]


def _from_hugging_face(state: State) -> State:
    """open_clip's names; queries, keys and values in one matrix, and projections the other way round."""
    found = {}
    for name, value in state.items():
        name = respelt(name, RENAMED)
        found[name] = value.T if name in ("visual.proj", "text_projection") else value
    for name in [name for name in found if ".attn.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if all(part in found for part in parts):
            found[name.replace(".q_proj.", ".in_proj_")] = torch.cat([found.pop(part) for part in parts])
    return found


def _keys(stored: Any) -> str:
    if not isinstance(stored, Mapping):
        return f"it holds a {type(stored).__name__}"
    return f"it has the keys {first_three([str(key) for key in stored])}" if stored else "it is empty"


def first_three(names: list[str]) -> str:
    """The first three of names, and how many there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def digest(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all weights in float32; "" for an architecture without any."""
    if next(model.parameters()).is_meta:
        return ""
    total = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        kind = torch.float32 if value.is_floating_point() else value.dtype
        total.update(f"{key} {kind} {tuple(value.shape)}".encode())
        for part in value.detach().cpu().flatten().split(PIECE):
            total.update(part.to(kind).numpy().tobytes())
    return total.hexdigest()
