"""Methods and recipes on a CLIP that stays."""

from pipeline import methods
from pipeline.config import recipes

MSRVTT, LONG = methods.Shape(12, 32), methods.Shape(32, 64)


def attach(clip, run, *, dataset="msrvtt", shape=MSRVTT, **config):
    """A method or recipe, attached to a clip from which the last one is removed first."""
    clip.detach_all()
    return methods.attach(clip, methods.load(run, config=recipes.part(run, dataset).config | config), shape=shape)
