"""Sizes of a backbone's two towers, read from its configuration, and what follows from them: parameters, and the work of a pass."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from pipeline.core.code import ROOT

# Width, blocks and inner width of the vision towers whose configuration has a name of timm and no numbers, by the size in that name.
SIZES = {
    "tiny": (192, 12, 768),
    "small": (384, 12, 1536),
    "base": (768, 12, 3072),
    "large": (1024, 24, 4096),
    "so400m": (1152, 27, 4304),
    "giant": (1408, 40, 6144),
    "giantopt": (1536, 40, 6144),
    "gigantic": (1536, 50, 8960),
}
NAMED = re.compile(rf"(?:vit|eva|eva02)_(?:pe_core_)?(?P<size>{'|'.join(SIZES)})_(?:patch(?P<patch>\d+))?")


def architecture(name: str) -> dict[str, Any]:
    """The configuration of a backbone, read from our file or open_clip's, which is not imported; empty for one that is not known."""
    places = [ROOT / "pipeline/clip" / f"{name}.json"]
    found = importlib.util.find_spec("open_clip")
    if found is not None and found.origin:
        places.append(Path(found.origin).with_name("model_configs") / f"{name}.json")
    file = next((place for place in places if place.is_file()), None)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file else {}


def vision_of(shape: dict[str, Any]) -> dict[str, Any]:
    """The vision part of a configuration, with the numbers that its name of timm stands for where it has none of its own."""
    stated: dict[str, Any] = shape.get("vision_cfg", {})
    name = stated.get("timm_model_name") or ""
    without_cls = {"cls": 0} if "siglip" in name or "gigantic" in name else {}
    found = NAMED.match(name)
    if found is None:
        return stated | without_cls
    width, layers, inner = SIZES[found["size"]]
    return {"width": width, "layers": layers, "inner": inner, "patch_size": int(found["patch"] or 16)} | without_cls | stated


def text_of(shape: dict[str, Any]) -> dict[str, Any]:
    """The text part of a configuration."""
    stated: dict[str, Any] = shape.get("text_cfg", {})
    return stated


def parameters(shape: dict[str, Any]) -> float:
    """Of both towers: four squares of its width and its MLP a block, a pool as one more, and the embeddings of patches and words."""
    vision, text = vision_of(shape), text_of(shape)
    blocks = sum(_block(tower) * _layers(tower) for tower in (vision, text))
    blocks += _block(vision) if vision.get("timm_pool") == "map" else 0
    embedded = _patch(vision) + text.get("vocab_size", 0) * text.get("width", 0)
    return float(blocks + embedded)


def work(shape: dict[str, Any], *, frames: int, words: int) -> tuple[float, float]:
    """Multiply-accumulates of CLIP alone on a video of so many frames, and on a caption of so many tokens; 0 for an unknown backbone.

    Products with weights, and of attention, two of a token with each. The method's own products are not in it, nor a pool.
    """
    vision, text, embedded = vision_of(shape), text_of(shape), shape.get("embed_dim", 0)
    patches = (vision.get("image_size", 0) // (vision.get("patch_size") or 1)) ** 2
    frame = patches * _patch(vision) + _pass(vision, patches + vision.get("cls", 1)) + vision.get("width", 0) * embedded
    return float(frames * frame), float(_pass(text, words) + text.get("width", 0) * embedded)


def _pass(tower: dict[str, Any], tokens: int) -> int:
    return int(_layers(tower) * (tokens * _block(tower) + 2 * tower.get("width", 0) * tokens**2))


def _layers(tower: dict[str, Any]) -> int:
    """A ResNet, which is refused elsewhere, has a list."""
    layers = tower.get("layers", 0)
    return layers if isinstance(layers, int) else 0


def _patch(vision: dict[str, Any]) -> int:
    return int(3 * (vision.get("patch_size") or 0) ** 2 * vision.get("width", 0))


def _block(tower: dict[str, Any]) -> int:
    width = tower.get("width", 0)
    return int(4 * width**2 + 2 * width * tower.get("inner", tower.get("mlp_ratio", 4) * width))
