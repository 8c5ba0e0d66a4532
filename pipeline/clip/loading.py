"""A backbone opened: its architecture, its weights from a file or a tag of open_clip, and refusals of what the seam cannot run."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip

from pipeline.clip import architecture, table, tiny, tokens, weights
from pipeline.clip.model import OPENAI, FrozenClip
from pipeline.clip.preprocessing import RESIZES, Preprocessing
from pipeline.config.schema import Backbone

CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_bias")
ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")  # that files of weights mostly have


def load_backbone(backbone: Backbone) -> FrozenClip:
    """Open a CLIP by its open_clip architecture name, with the weights of a pretrained tag of open_clip or of a file.

    Raises ValueError for an unknown name, a tower that the seam cannot run, a tag whose weights were trained with another activation
    (of a file nobody can tell), weights of another architecture or resolution, and weights that cannot be had here.
    """
    name = backbone.name
    _check_activation(name, backbone.weights)
    model = build(name, draw_table=False)
    tokenizer = tokenizer_of(name, backbone.tokenizer)
    path = backbone.file or _download(name, backbone.weights)
    _refuse_no_file(path, name)
    try:
        _load(model, path)
    except ValueError as error:
        raise ValueError(f"{path} does not hold the weights of {name}: found {error}") from error
    except Exception as error:  # safetensors, zip and pickle each raise their own where a file is damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is damaged or not whole, so that {name} cannot be read from it ({reason}); fetch it again") from error
    return FrozenClip(model, name=name, preprocessing=preprocessing(backbone), tokenizer=tokenizer)


def preprocessing(backbone: Backbone) -> Preprocessing:
    """The preprocessing by the backbone's keys, over its tag's; for a file, the one of all tags of its architecture, else OpenAI's."""
    name = backbone.name
    tags = open_clip.list_pretrained_tags_by_model(name) if backbone.file else [backbone.weights]
    stated = {_stated(open_clip.get_pretrained_cfg(name, tag)) for tag in tags}
    found = stated.pop() if len(stated) == 1 else OPENAI
    return Preprocessing(
        mean=_three(backbone.mean, "mean") or found.mean,
        std=_three(backbone.std, "std") or found.std,
        resize=found.resize if backbone.resize == "auto" else backbone.resize,
        interpolation=found.interpolation if backbone.interpolation == "auto" else backbone.interpolation,
    )


def seen_as(name: str, weights: str, pictures: str) -> Backbone:
    """The backbone `name` with these weights and with `pictures`, the preprocessing that an adapter carries. ValueError if it is none."""
    backbone, wanted = Backbone(name, weights), Preprocessing.read(pictures)
    if preprocessing(backbone) == wanted:
        return backbone
    mean, std = list(wanted.mean), list(wanted.std)
    return replace(backbone, mean=mean, std=std, resize=wanted.resize, interpolation=wanted.interpolation)


def _stated(tag: dict[str, Any]) -> Preprocessing:
    """The preprocessing that open_clip notes for a tag; OpenAI's where it notes none."""
    if not tag:
        return OPENAI
    return Preprocessing(tuple(tag["mean"]), tuple(tag["std"]), RESIZES[tag["resize_mode"]], tag["interpolation"])


def _three(numbers: list[float] | None, what: str) -> tuple[float, ...]:
    if numbers and len(numbers) != 3:
        raise ValueError(f"backbone.{what} is {numbers}; give three numbers, of red, green and blue")
    return tuple(map(float, numbers or ()))


def _refuse_no_file(path: Path, name: str) -> None:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in ENDINGS)
        which = f"it has {weights.first_three(inside)}" if inside else f"none in it ends in {', '.join(ENDINGS)}"
        raise ValueError(f"backbone.weights: {path} is a folder; name the file of {name} in it, {which}")
    if not path.is_file():
        raise ValueError(f"backbone.weights: there is no file {str(path)!r}; put the checkpoint of {name} there")


def _load(model: open_clip.CLIP, path: Path) -> None:
    """Read weights. open_clip would stretch the positions of another resolution to fit; here that is an error."""
    state, form = weights.read(path)
    own = model.state_dict()
    if "logit_scale" in state and state["logit_scale"].numel() == 1:  # a number, or a list of one
        state["logit_scale"] = state["logit_scale"].reshape(own["logit_scale"].shape)
    if wrong := _differences(own, state):
        remedy = "set backbone.name to the architecture of this file, or backbone.weights to a file of this architecture alone"
        raise ValueError(f"{form}, {'; '.join(wrong)}; {remedy}")
    table.fill(model, state)
    model.load_state_dict(state)
    if "," in form:
        print(f"{path}: {form}", file=sys.stderr, flush=True)


def _differences(own: weights.State, state: weights.State) -> list[str]:
    """The tensors that a file lacks, has too many, or has otherwise than the model, each as a few words."""
    lacking, extra = [key for key in own if key not in state], [key for key in state if key not in own]
    both = [key for key in own if key in state]
    shapes = [key for key in both if state[key].shape != own[key].shape]
    types = [f"{key} of {state[key].dtype}" for key in both if own[key].is_floating_point() and not state[key].is_floating_point()]
    odd = [f"{key} has the shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}" for key in shapes]
    told = (
        (lacking, f"which lacks {len(lacking)} of {len(own)} tensors"),
        (extra, f"with {len(extra)} tensors too many"),
        (odd, f"with {len(odd)} of another shape"),
        (types, f"with {len(types)} that are no floating-point numbers"),
    )
    return [f"{words}: {weights.first_three(names)}" for names, words in told if names]


def tokenizer_of(name: str, folder: str) -> tokens.Tokenizer:
    """The tokeniser of an architecture, read from `folder` where one is named. ValueError if it cannot be had here."""
    return tokens.load(configuration(name)["text_cfg"], name=name, folder=folder)


def build(name: str, *, draw_table: bool = True) -> open_clip.CLIP:
    """The architecture `name` with random weights, under open_clip's names; without `draw_table` a large token table has no numbers.

    ValueError for an architecture that the seam cannot run.
    """
    config = configuration(name)
    own = config | ({} if draw_table else {"text_cfg": table.small(config["text_cfg"])})
    model = open_clip.CLIP(**{key: value for key, value in own.items() if key in CONFIG_KEYS})
    table.leave_open(model, config["text_cfg"].get("vocab_size", model.vocab_size))
    if config["vision_cfg"].get("timm_model_name"):
        architecture.arrange(model, name)
    return model


def configuration(name: str) -> dict[str, Any]:
    """The configuration from which open_clip builds `name`. ValueError for one that the seam cannot run, where that shows before."""
    if ":" in name:  # open_clip would look for a configuration in the hub or in a folder
        raise ValueError(
            f"backbone.name: {name!r} is a place and not an architecture; set backbone.name to its architecture, such as "
            "ViT-B-32-quickgelu, and backbone.weights to the file of weights that lies there"
        )
    if name.startswith("clip-tiny") and name not in open_clip.list_models():
        open_clip.add_model_config(tiny.CONFIGURATIONS)
    config = open_clip.get_model_config(name)
    if config is None:
        known = ", ".join(m for m in open_clip.list_models() if re.fullmatch(r"ViT-[BL]-(32|16|14)-quickgelu", m))
        raise ValueError(f"backbone.name: open_clip has no model {name!r}; use clip-tiny or one like {known}")
    refuse(name, config)
    return dict(config)


def refuse(name: str, config: dict[str, Any]) -> None:
    """ValueError for a configuration whose model need not be built to know that the seam cannot run it."""
    if config["text_cfg"].get("hf_model_name"):
        raise ValueError(f"backbone {name}: a HF text tower cannot be run block by block; use a CLIP whose text tower is open_clip's")
    if "multimodal_cfg" in config:
        raise ValueError(f"backbone {name} is a CoCa, whose features are trained for a caption decoder, too; use a plain ViT CLIP")
    if isinstance(config["vision_cfg"].get("layers"), list):
        raise ValueError(f"backbone {name}: a ResNet vision tower has no blocks to attach to; use a plain ViT CLIP")


def _check_activation(name: str, tag: str) -> None:
    """OpenAI's and others' weights were trained with QuickGELU; open_clip only warns when an erf GELU runs on them."""
    known = open_clip.get_pretrained_cfg(name, tag)  # nothing for a name that open_clip does not know
    if known.get("quick_gelu", False) and not open_clip.get_model_config(name).get("quick_gelu", False):
        raise ValueError(f"backbone {name} uses the erf GELU but {tag!r} was trained with QuickGELU; set backbone.name: {name}-quickgelu")


def place(name: str, tag: str) -> str:
    """Where open_clip fetches the weights of a tag: a repository of the hub, or an address."""
    config = open_clip.get_pretrained_cfg(name, tag)
    return str(config.get("hf_hub", "")).strip("/") or str(config["url"])


def _download(name: str, tag: str) -> Path:
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ValueError(
            f"backbone.weights: open_clip has no weights {tag!r} for {name}; it has {', '.join(tags) or 'none'}; "
            f"a file without an ending is named with its folder, './{tag}'"
        )
    try:
        return Path(open_clip.download_pretrained(config))
    except Exception as error:  # urllib, requests, httpx and the hub each raise their own
        raise ValueError(
            f"the weights {tag!r} of {name} ({config.get('hf_hub') or config.get('url')}) could not be downloaded "
            f"({type(error).__name__}); fetch the file on a machine with internet, put it here and set backbone.weights to its path"
        ) from error
