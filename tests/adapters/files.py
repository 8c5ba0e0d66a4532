"""Files of a backbone and of its adapters, with random weights."""

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import build, load_backbone
from pipeline.config.schema import Backbone, Train
from pipeline.motion import files, scene

ROOT = Path(__file__).parents[2]
SHAPE = {
    "frames": {"number": 4, "size": 64, "grid": "centres"},
    "words": 12,
    "clips": {"short_side": 64, "fps": 6, "crf": 20, "seconds": 0.0, "pixels": "square"},
}
TEXTS = ["a red star", "a blue circle moves left", "the green square spins"]


def write_backbone(path, seed=0):
    """clip-tiny with random weights, of which none is at its usual start."""
    torch.manual_seed(seed)
    model = build("clip-tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, path)
    return path


def write_adapter(path, weights, run, config=None, *, seed=3, without=(), **changes):
    """An adapter whose tensors have moved, as training would move them."""
    clip = load_backbone(Backbone("clip-tiny", str(weights)))
    torch.manual_seed(seed)
    method = methods.load(run, config=config or {})
    methods.attach(clip, method, shape=methods.Shape(4, 12))
    tensors = {name: p.detach() + 0.05 * torch.randn_like(p) for name, p in clip.trained().items() if name not in without}
    tensors = clip.stored() | tensors if not without else tensors
    header = {"run": run, "config": dict(vars(method)), "shape": SHAPE, "train": asdict(Train()), "dataset": "toy", "seed": 0}
    header |= checkpoint.described(clip) | changes
    checkpoint.save(path, tensors, header={key: value for key, value in header.items() if value is not None})
    return path


def write_videos(folder):
    """Two video files of other forms."""
    folder.mkdir()
    for kind, verb in (("mp4", "up"), ("avi", "left")):
        form = files.Form(kind, 160, 120, 12, 2.0, 0)
        files.write(
            scene.Scene((scene.Thing("square", "blue", "big", verb, 0.3, 0.5),), ("light", 2)), folder / f"{verb}.{kind}", form=form, seed=1
        )
    return sorted(folder.iterdir())
