"""Methods on architectures of other families: which run, which token they take for a frame, which are refused and why.

The table's entries are found by attaching each method to a tiny CLIP of each family, and embedding a video and a caption.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build
from pipeline.config import registry
from pipeline.core.formatting import markdown
from pipeline.cost.table import by_tower
from pipeline.methods.parts.anchor import Anchor

FAMILIES = {
    "clip-tiny": "read at CLS",
    "clip-tiny-siglip": "no CLS, read by a pool",
    "clip-tiny-pe": "CLS, read by a pool",
}
FRAMES, WORDS = 2, 24  # leaves room for prompts in 32 tokens
ANCHORS = {"cls": "CLS", "patches": "mean of patches", "pool": "pool"}


def table() -> str:
    """A row for each method as it is, and below the first of a file for each anchor that may be chosen there, as Markdown."""
    clips = [FrozenClip(build(name), name=name) for name in FAMILIES]
    head = ["method", *(f"`{name}`: {words}" for name, words in FAMILIES.items())]
    rows, files = list[list[str]](), set[Path]()
    for name, entry in registry.entries().items():
        cells = _cells(name, {}, clips)
        rows.append([f"`{name}`", *cells])
        if any("anchor" in cell for cell in cells) and entry.file not in files:
            files.add(entry.file)
            rows += _chosen(name, clips)
    return markdown(head, rows)


def _chosen(name: str, clips: Sequence[FrozenClip]) -> Iterator[list[str]]:
    """A method that asks what stands for a frame, with each anchor that it knows."""
    for anchor in ANCHORS:
        try:
            yield [f"`{name}`, `anchor: {anchor}`", *_cells(name, {"anchor": anchor}, clips)]
        except ValueError:  # a word that this method has not, whatever the family
            continue


def _cells(name: str, config: Mapping[str, Any], clips: Sequence[FrozenClip]) -> list[str]:
    method, found = methods.load(name, config=config), list[str]()
    usual: dict[str, int] = {}
    for clip in clips:
        try:
            trained = _embed(clip, method)
            usual = usual or trained
            found.append(", ".join(["runs", *_notes(clip, trained, usual)]))
        except ValueError as error:
            found.append(f"refused: {error}")
        finally:
            clip.detach_all()
    return found


@torch.no_grad()
def _embed(clip: FrozenClip, method: methods.Method) -> dict[str, int]:
    """The trained tensors of each tower, once a video and a caption have gone through the method. ValueError where it is refused."""
    words = clip.context_length if clip.text.whole_rows else WORDS
    methods.attach(clip, method, shape=methods.Shape(FRAMES, words))
    frames = torch.zeros(1, FRAMES, 3, clip.image_size, clip.image_size, dtype=torch.uint8)
    features = clip.encode_frames(frames, mask=torch.ones(1, FRAMES, dtype=torch.bool))
    said = clip.encode_text(clip.tokenize(["a video"], num_words=words))
    assert features.shape[-1] == said.shape[-1] == clip.embed_dim
    return by_tower(clip.trained())


def _notes(clip: FrozenClip, trained: Mapping[str, int], usual: Mapping[str, int]) -> Iterator[str]:
    """The anchor, and a tower in which nothing is trained, though in the first family it is."""
    for kind in {module.kind: None for module in clip.adapter.modules() if isinstance(module, Anchor)}:
        yield f"anchor: {ANCHORS[kind]}"
    yield from (f"nothing in {tower}" for tower, number in trained.items() if usual[tower] and not number)
