"""A trained adapter in the forms that other programs load: CLIP's weights with it folded in, or factors of LoRA for peft.

r rank, a weight is (O, I).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from pipeline.clip import FrozenClip
from pipeline.clip.attention import LowRank
from pipeline.clip.blocks import Trunk
from pipeline.clip.folding import PART, YES, folds
from pipeline.clip.tower import Tower
from pipeline.core.files import whole, write_json

ENDING = ".safetensors"  # by which open_clip knows how to read a file
# The maps of a block by Hugging Face's names.
NAMES = {"attn.out_proj.weight": "self_attn.out_proj", "mlp.c_fc.weight": "mlp.fc1", "mlp.c_proj.weight": "mlp.fc2"}
FUSED = ("attn.in_proj_weight", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"))


def write_open_clip(clip: FrozenClip, target: Path, *, run: str) -> None:
    """Fold what is attached to `clip` into its weights, and write these as a checkpoint of open_clip.

    ValueError for a method that does not fold, a tower of another library than open_clip, and a name that open_clip would misread.
    """
    _refuse_foreign(clip)
    if target.suffix != ENDING:
        raise ValueError(f"--out is {target}; open_clip reads this format by its ending, so give a name that ends in {ENDING}")
    if (found := folds(clip)) != YES:
        how = "only in part into the weights of CLIP" if found == PART else "not into the weights of CLIP, but stands beside them"
        raise ValueError(f"{run} folds {how}, so that open_clip cannot run it; use pipeline.load (docs/adapters.md)")
    clip.merge()
    _save(target, clip.model.state_dict())


def write_peft(clip: FrozenClip, folder: Path, *, run: str) -> None:
    """Write what is attached to `clip` as an adapter of peft for Hugging Face's CLIPModel: two files in `folder`.

    ValueError for a method that is more than products of two small matrices, and for a tower of another library than open_clip.
    """
    _refuse_foreign(clip)
    changes = [change for tower in (clip.vision, clip.text) for hooks in tower.hooks for change in hooks.weights.values()]
    if not changes or clip.unfrozen or folds(clip) != YES or not all(isinstance(change, LowRank) for change in changes):
        raise ValueError(
            f"{run} is not a low-rank change of weights alone, which peft's LoRA is; leave out --format peft, or use pipeline.load"
        )
    with torch.no_grad():
        found = dict(entry for tower in (clip.vision, clip.text) for entry in _factors(tower))
    tensors = {
        f"base_model.model.{name}.lora_{key}.weight": value for name, pair in found.items() for key, value in zip("AB", pair, strict=True)
    }
    ranks = {name: len(down) for name, (down, _) in found.items()}
    rank = max(ranks.values())
    _save(folder / "adapter_model.safetensors", tensors)
    # alpha / r is 1: the scale is in B.
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False}
    write_json(folder / "adapter_config.json", settings | {"target_modules": sorted(ranks), "inference_mode": True})


def _factors(tower: Tower) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """A (r, I) and B (O, r) of each changed map of a tower, by Hugging Face's names.

    Its queries, keys and values have a map each: each chosen one gets its rows of B, and the A that they share, or its own.
    """
    for layer, hooks in enumerate(tower.hooks):
        for key, change in hooks.weights.items():
            down, up = change.factors()  # type: ignore[attr-defined]
            where = f"{tower.name}_model.encoder.layers.{layer}."
            if key != FUSED[0]:
                yield where + NAMES[key], (down, up)
                continue
            yield from ((where + name, pair) for name, pair in _apart(change, down, up))


def _apart(change: Any, down: Tensor, up: Tensor) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    chosen = [(name, rows) for name, rows, one in zip(FUSED[1], up.chunk(3), change.chosen, strict=True) if one]
    for place, (name, rows) in enumerate(chosen):
        if getattr(change, "shared", True):
            yield name, (down, rows)
        else:
            yield name, (down.chunk(len(chosen))[place], rows.chunk(len(chosen), dim=1)[place])


def _refuse_foreign(clip: FrozenClip) -> None:
    if isinstance(clip.model.visual, Trunk):
        raise ValueError(f"{clip.name} has a vision tower of timm, whose names no export writes; use pipeline.load (docs/adapters.md)")


def _save(target: Path, tensors: dict[str, Tensor]) -> None:
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with whole(target) as part:
        part.write_bytes(serialise(plain, metadata={"format": "pt"}))
