"""Which frames of a clip a method sees. Indices are chosen before anything is decoded.

A grid is a function of (num_frames, fps, number) that gives at most `number` indices into the canonical clip, whose frame k
is the picture at k/fps seconds. Missing pictures at the end are padding, which the mask hides.
"""

import itertools
from collections.abc import Callable

import numpy as np

Grid = Callable[[int, float, int], list[int]]


def pick(name: str, *, num_frames: int, fps: float, number: int) -> tuple[list[int], list[bool]]:
    """`number` indices into a clip of `num_frames` frames, and the mask: False is padding, with index -1.

    Raises ValueError for a clip or a choice without frames.
    """
    if num_frames < 1 or number < 1 or fps <= 0:
        raise ValueError(f"cannot choose {number} of {num_frames} frames at {fps:g} frames a second: all three must be positive")
    chosen = GRIDS[name](num_frames, fps, number)
    assert 0 < len(chosen) <= number and min(chosen) >= 0 and max(chosen) < num_frames
    padding = number - len(chosen)
    return chosen + [-1] * padding, [True] * len(chosen) + [False] * padding


def centres(num_frames: int, fps: float, number: int) -> list[int]:
    """The middle of each of `number` equal parts; a clip with fewer frames gives all of them."""
    if num_frames < number:
        return list(range(num_frames))
    return [(2 * k + 1) * num_frames // (2 * number) for k in range(number)]


def clip4clip(num_frames: int, fps: float, number: int) -> list[int]:
    """One frame a second, then evenly from the first to the last of them.

    Paper: Luo et al. (arXiv:2104.08860); the rate is cut to an integer as in its reader.
    """
    seconds = range(0, num_frames, max(int(fps), 1))
    return list(seconds) if len(seconds) <= number else [seconds[i] for i in _spread(len(seconds), number)]


def mv_adapter(num_frames: int, fps: float, number: int) -> list[int]:
    """One frame a second, then the left edge of each of `number` equal parts, so never the last one.

    Paper: Jin et al., MV-Adapter (CVPR 2024).
    """
    seconds = range(0, num_frames, max(round(fps), 1))
    return list(seconds) if len(seconds) <= number else [seconds[i * len(seconds) // number] for i in range(number)]


def xpool(num_frames: int, fps: float, number: int) -> list[int]:
    """The middle of each of `number` integer intervals at the clip's own rate; a short clip repeats its last frame, unmasked.

    Paper: Gorti et al., X-Pool (CVPR 2022); VoP samples the same way.
    """
    parts = min(num_frames, number)
    edges = np.linspace(0, num_frames, parts + 1, dtype=int).tolist()
    middles = [(left + right - 1) // 2 for left, right in itertools.pairwise(edges)]
    return middles + middles[-1:] * (number - parts)


def tempme(num_frames: int, fps: float, number: int) -> list[int]:
    """One frame a second, evenly thinned; a clip with too few seconds is spread over all its frames instead of padded.

    Paper: Shen et al., TempMe (ICLR 2025).
    """
    seconds = range(0, num_frames, max(round(fps), 1))
    if len(seconds) < number:
        return _spread(num_frames, number)
    return [seconds[i] for i in _spread(len(seconds), number)]


def _spread(length: int, number: int) -> list[int]:
    """`number` positions from 0 to length - 1, both included, rounded down."""
    return [int(i) for i in np.linspace(0, length - 1, number, dtype=int)]


GRIDS: dict[str, Grid] = {
    "centres": centres,
    "clip4clip": clip4clip,
    "mv_adapter": mv_adapter,
    "xpool": xpool,
    "tempme": tempme,
}
