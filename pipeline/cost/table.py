"""Costs of methods and recipes before anything is trained: one row for each, from the architecture alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline import methods
from pipeline.adapters.checkpoint import checkpoint_bytes
from pipeline.clip import FrozenClip
from pipeline.clip.folding import folds
from pipeline.config import recipes, registry
from pipeline.config.parse import refuse_unknown
from pipeline.core.formatting import aligned, giga
from pipeline.cost import dead_parameters
from pipeline.cost.measure import macs, parameters, shares
from pipeline.methods import Method, Shape
from pipeline.runtime.unfilled import Unfilled

Row = dict[str, Any]
UNKNOWN: Row = {"dead": None, "dead_names": None, "dead_by_tensor": None}


@dataclass
class Candidate:
    """A run and its settings. `aliases` are later runs whose settings are equal."""

    run: str
    method: Method
    aliases: list[str] = field(default_factory=list)


def candidates(dataset: str, *, named: Sequence[str] = ()) -> list[Candidate]:
    """All methods with their defaults and all recipes as they are on a dataset, or the `named` ones. ValueError for an unknown name."""
    found: list[Candidate] = []
    for run in named or [*methods.names(), *recipes.load()]:
        _refuse_unknown_run(run)
        method = methods.load(run, config=recipes.part(run, dataset).config)
        same = next((candidate for candidate in found if candidate.method == method), None)
        if same is None:
            found.append(Candidate(run, method))
        elif run not in (same.run, *same.aliases):
            same.aliases.append(run)
    return found


def _refuse_unknown_run(run: str) -> None:
    method = registry.method_of(run)
    refuse_unknown(method, methods.names(), what="unknown method", there="pipeline/methods/ has")
    if run != method:
        near = [name for name in recipes.load() if registry.method_of(name) == method]
        refuse_unknown(run, near, what="there is no recipe", there="recipes/ has")


def unfilled(make: Callable[[], FrozenClip], wanted: Iterable[Candidate], *, shape: Shape) -> tuple[list[Row], dict[str, str]]:
    """As `rows`, of the plain CLIP that `make` builds, on tensors without numbers: no memory, however large it is, and no `dead`."""
    with torch.device("meta"):
        clip = make()
    with Unfilled():
        return rows(clip.to_empty(device="cpu"), wanted, shape=shape, filled=False)


def rows(clip: FrozenClip, wanted: Iterable[Candidate], *, shape: Shape, filled: bool = True) -> tuple[list[Row], dict[str, str]]:
    """The costs of all candidates, and why some cannot be attached to this backbone at this shape.

    A candidate with the same numbers as an earlier one of its method becomes an alias of it. Scoring is not counted.
    """
    found: list[Row] = []
    refused: dict[str, str] = {}
    for candidate in wanted:
        try:
            row = measure(clip, candidate.method, shape=shape, filled=filled)
        except ValueError as error:
            refused |= dict.fromkeys([candidate.run, *candidate.aliases], str(error))
            continue
        kin = (other for other in found if registry.method_of(other["method"]) == registry.method_of(candidate.run))
        same = next((other for other in kin if row.items() <= other.items()), None)
        if same is None:
            found.append(row | {"method": candidate.run, "aliases": candidate.aliases})
        else:
            same["aliases"] += [candidate.run, *candidate.aliases]
    return found, refused


def measure(clip: FrozenClip, method: Method, *, shape: Shape, filled: bool = True) -> Row:
    """The cost of `method` on `clip`, which must be plain and is left so. LoRA's products are counted as merged into CLIP's weights.

    Where no tensor is `filled` with numbers, no gradient says what is `dead`: None. ValueError if it cannot be attached.
    """
    try:
        methods.attach(clip, method, shape=shape)
        trained = clip.trained()
        row = _counted(clip, shape=shape) if filled else shares(clip, trained) | UNKNOWN
        row |= by_tower(trained) | frozen(clip) | {"leaf_share": leaf_share(clip), "folds": folds(clip)}
        clip.merge()
        return row | macs(clip, num_frames=shape.num_frames, num_words=shape.num_words, device=clip.mean.device)
    finally:
        clip.detach_all()


def _counted(clip: FrozenClip, *, shape: Shape) -> Row:
    """Trainable and dead parameters."""
    alive = dead_parameters.find_alive(clip, num_frames=shape.num_frames, num_words=shape.num_words)
    return parameters(clip, alive) | {"dead_by_tensor": {name: int((~mask).sum()) for name, mask in alive.items() if not mask.all()}}


def tower_of(name: str) -> str:
    """Where a trained tensor works: vision, text or, if it belongs to both, shared. Heads on frame features are vision."""
    if name.startswith(("adapter.factors", "adapter.shared", "clip.logit_scale")):
        return "shared"
    return "vision" if name.startswith("clip.visual.") or not name.startswith(("clip.", "adapter.text")) else "text"


def by_tower(trained: Mapping[str, Tensor]) -> dict[str, int]:
    """Trained entries of each tower and of what both share."""
    return {tower: sum(p.numel() for name, p in trained.items() if tower_of(name) == tower) for tower in ("vision", "text", "shared")}


def frozen(clip: FrozenClip) -> Row:
    """Entries beside the trained ones that stay as they are: `kept` in the adapter's file, or `generated` anew; and the file's bytes."""
    stored = clip.stored()
    kept = sum(values.numel() for values in stored.values()) - sum(p.numel() for p in clip.trained().values())
    buffers = sum(values.numel() for values in clip.adapter.buffers())
    return {"kept": kept, "generated": buffers - kept, "checkpoint_bytes": checkpoint_bytes(stored)}


def leaf_share(clip: FrozenClip) -> float:
    """Trained parameters in per cent of CLIP as VoP's tables count them (arXiv:2211.12764; vop.md 7 and 10).

    Their tool sees parameters of leaf modules only: no input projection of an attention, neither above nor below the line, no frame
    positions, and of CLIP's tensors that stand by themselves (`visual.proj`) only what is trained without any leaf.
    """
    modules = {place: module for place, module in clip.model.named_modules() if not list(module.children())}
    leaves = {f"clip.{place}.{name}": p for place, module in modules.items() for name, p in module.named_parameters(recurse=False)}
    counted = {name: p for name, p in clip.trained().items() if "in_proj" not in name and "frame_position" not in name}
    if counted.keys() & leaves.keys():
        counted = {name: p for name, p in counted.items() if name in leaves or not name.startswith("clip.")}
    own, whole = (sum(p.numel() for p in tensors.values()) for tensors in (counted, leaves))
    return 100 * own / whole


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "trainable": ("trainable", "{:,}".format),
    "dead": ("dead", lambda number: "\u2013" if number is None else f"{number:,}"),
    "vision": ("vision", "{:,}".format),
    "text": ("text", "{:,}".format),
    "shared": ("shared", "{:,}".format),
    "share": ("% of CLIP", "{:.3f}".format),
    "tower_share": ("% of towers", "{:.3f}".format),
    "leaf_share": ("% as VoP", "{:.3f}".format),
    "macs_per_video": ("GMACs/video", giga),
    "macs_per_caption": ("GMACs/caption", giga),
    "kept": ("frozen, kept", "{:,}".format),
    "generated": ("frozen, generated", "{:,}".format),
    "checkpoint_bytes": ("file bytes", "{:,}".format),
    "folds": ("folds away", str),
}


def to_text(found: list[Row]) -> str:
    """The rows as an aligned table, and below it which runs share a row."""
    lines = [[title for title, _ in COLUMNS.values()]]
    lines += [[show(row[key]) for key, (_, show) in COLUMNS.items()] for row in found]
    notes = [f"{row['method']}: also {', '.join(row['aliases'])}" for row in found if row["aliases"]]
    return aligned(lines, left=1) + "".join(f"{line}\n" for line in notes)
