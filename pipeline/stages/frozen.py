"""Find how far up each tower runs leave CLIP alone, by architecture only: one JSON line in for all runs, one out.

The workflow asks this before it plans, so that a run lists the one store it reads among its inputs (pipeline/rules/plan.py).
"""

import argparse
import json
import sys
from functools import cache
from typing import Any

import torch

from pipeline import methods
from pipeline.clip import FrozenClip, build, forward
from pipeline.inputs import frozen
from pipeline.stages import guarded


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Nothing is computed, so nothing needs memory.
    with torch.device("meta"):
        print(json.dumps([_reaches(**wanted) for wanted in json.load(sys.stdin)]))


def _reaches(*, run: str, config: dict[str, Any], backbone: str, frames: int, words: int) -> dict[str, Any]:
    clip = _architecture(backbone)
    try:
        methods.attach(clip, methods.load(run, config=config), shape=methods.Shape(frames, words))
        towers = {tower.name: tower for tower in (clip.vision, clip.text)}
        found = frozen.reaches(clip)
        trained = sum(tensor.numel() for tensor in clip.trained().values())
        return {"trained": trained > 0, "whole": trained > sum(p.numel() for p in clip.model.parameters()) / 2} | {
            name: {"level": forward.title(reach.level, top=towers[name].top), "top": towers[name].top, "reason": frozen.reason(reach)}
            for name, reach in found.items()
        }
    except ValueError as error:
        return {"problem": str(error)}
    finally:
        clip.detach_all()


@cache
def _architecture(name: str) -> FrozenClip:
    return FrozenClip(build(name), name=name)


if __name__ == "__main__":
    guarded(main)
