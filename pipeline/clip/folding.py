"""Folding: what of a method is a change of weights of CLIP, which `FrozenClip.merge` puts into them, and whether all of it is."""

from pipeline.clip.model import FrozenClip
from pipeline.clip.tower import BlockHooks

YES, PART, NO = "yes", "in part", "no"  # does a method fold away?


def folds(clip: FrozenClip) -> str:
    """Whether what is attached folds away: YES if it is nothing but other weights, PART if some of it is, else NO. As it is before `merge`.

    The temperature and the losses of a training are no part of the towers, and are not asked.
    """
    towers = clip.vision, clip.text
    changed = any(hooks.weights for tower in towers for hooks in tower.hooks)
    before = any(tower.pixels or tower.embedding or tower.side for tower in towers)
    inside = any(hooks != BlockHooks(weights=hooks.weights) for tower in towers for hooks in tower.hooks)
    behind = clip.frame_head or clip.text_head or clip.query_temperature is not None or clip.frame_weights
    if not (before or inside or behind):
        return YES
    return PART if changed else NO
