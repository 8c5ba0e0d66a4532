"""A backbone opened: its architecture, its weights from a file or a tag of open_clip, and refusals of what the seam cannot run."""

import re
from pathlib import Path

import open_clip

from pipeline.clip.model import FrozenClip
from pipeline.config.schema import Backbone

TINY = Path(__file__).parent / "clip-tiny.json"
CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")


def load_backbone(backbone: Backbone) -> FrozenClip:
    """Open a CLIP by its open_clip architecture name, with the weights of a pretrained tag of open_clip or of a file.

    Raises ValueError for an unknown name, a tower that the seam cannot run, a tag whose weights were trained with another activation
    (of a file nobody can tell), weights of another architecture or resolution, and weights that cannot be had here.
    """
    name = backbone.name
    _check_activation(name, backbone.weights)
    model = build(name)
    path = backbone.file or _download(name, backbone.weights)
    if not path.is_file():
        raise ValueError(f"backbone.weights: there is no file {str(path)!r}; put the checkpoint of {name} there")
    try:
        _load(model, path)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} does not hold the weights of {name}: {reason}") from error
    except Exception as error:  # a pickle that asks for code ends here, as does a damaged safetensors header
        raise ValueError(f"{path} is not a checkpoint that can be read safely ({type(error).__name__}): {error}") from error
    return FrozenClip(model, name=name)


def _load(model: open_clip.CLIP, path: Path) -> None:
    """Read weights. open_clip would stretch the positions of another resolution to fit; here that is an error."""
    own = {key: tuple(value.shape) for key, value in model.state_dict().items() if key.endswith("positional_embedding")}
    stored = open_clip.factory.load_state_dict(str(path), weights_only=True)
    for key in own.keys() & stored.keys():
        if tuple(stored[key].shape) != own[key]:
            raise ValueError(f"{key} has the shape {tuple(stored[key].shape)}, expected {own[key]}")
    open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)


def count_tokens(captions: list[str]) -> list[int]:
    """The tokens of each caption, start and end of text included, before any is cut off."""
    tokenizer = open_clip.SimpleTokenizer()
    return [len(tokenizer.encode(caption)) + 2 for caption in captions]


def build(name: str) -> open_clip.CLIP:
    """The architecture `name` with random weights; its towers are checked first, so that no HF or timm model is built."""
    if name == "clip-tiny" and name not in open_clip.list_models():
        open_clip.add_model_config(TINY)
    config = open_clip.get_model_config(name)
    if config is None:
        known = ", ".join(m for m in open_clip.list_models() if re.fullmatch(r"ViT-[BL]-(32|16|14)-quickgelu", m))
        raise ValueError(f"backbone.name: open_clip has no model {name!r}; use clip-tiny or one like {known}")
    for tower, key, kind in (("vision", "timm_model_name", "timm"), ("text", "hf_model_name", "HF text")):
        if config[f"{tower}_cfg"].get(key):
            raise ValueError(f"backbone {name}: a {kind} tower cannot be run block by block; use a plain ViT CLIP")
    if isinstance(config["vision_cfg"].get("layers"), list):
        raise ValueError(f"backbone {name}: a ResNet vision tower has no blocks to attach to; use a plain ViT CLIP")
    config.pop("custom_text", None)
    return open_clip.CLIP(**{key: value for key, value in config.items() if key in CONFIG_KEYS})


def _check_activation(name: str, weights: str) -> None:
    """OpenAI's and others' weights were trained with QuickGELU; open_clip only warns when an erf GELU runs on them."""
    config, tag = open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, weights)
    if config is not None and tag.get("quick_gelu", False) and not config.get("quick_gelu", False):
        raise ValueError(
            f"backbone {name} uses the erf GELU but {weights!r} was trained with QuickGELU; set backbone.name: {name}-quickgelu"
        )


def _download(name: str, tag: str) -> Path:
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ValueError(f"backbone.weights: open_clip has no weights {tag!r} for {name}; it has {', '.join(tags) or 'none'}")
    try:
        return Path(open_clip.download_pretrained(config))
    except Exception as error:  # urllib, requests, httpx and the hub each raise their own
        raise ValueError(
            f"the weights {tag!r} of {name} ({config.get('hf_hub') or config.get('url')}) could not be downloaded "
            f"({type(error).__name__}); fetch the file on a machine with internet, put it here and set backbone.weights to its path"
        ) from error
