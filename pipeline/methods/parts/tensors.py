"""CLIP's own tensors by their names in the model."""

from collections.abc import Callable

from pipeline.clip.tower import Tower


def upper(tower: Tower, number: int | None) -> Callable[[str], bool]:
    """Whether the tensor of a name is in the last `number` blocks of a tower or in the norm behind them.

    If these are all blocks, or `number` is None, it may be any tensor on the tower's side of CLIP: then nothing below is left plain.
    """
    layers = [layer for layer, _, _ in tower.last(number)]
    vision = tower.name == "vision"
    if not layers[0]:
        return lambda name: name.startswith("visual.") == vision
    blocks, norm = ("visual.transformer.resblocks", "visual.ln_post.") if vision else ("transformer.resblocks", "ln_final.")
    starts = (norm, *(f"{blocks}.{layer}." for layer in layers))
    return lambda name: name.startswith(starts)
