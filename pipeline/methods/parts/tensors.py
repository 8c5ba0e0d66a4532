"""CLIP's own tensors by their names in the model."""

from collections.abc import Callable

from pipeline.clip.tower import Tower


def upper(tower: Tower, number: int | None) -> Callable[[str], bool]:
    """Whether the tensor of a name is in the last `number` blocks of a tower or in the norm and the pool behind them.

    If these are all blocks, or `number` is None, it may be any tensor on the tower's side of CLIP: then nothing below is left plain. The
    bias of a sigmoid loss is on no side: a softmax does not see it.
    """
    layers = [layer for layer, _, _ in tower.last(number)]
    vision = tower.name == "vision"
    if not layers[0]:
        return lambda name: name.startswith("visual.") == vision and name != "logit_bias"
    blocks = "visual.transformer.resblocks" if vision else "transformer.resblocks"
    behind = ("visual.ln_post.", "visual.attn_pool.") if vision else ("ln_final.",)
    starts = (*behind, *(f"{blocks}.{layer}." for layer in layers))
    return lambda name: name.startswith(starts)
