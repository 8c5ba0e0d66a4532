"""Scenes of the `motion` world: their contents, and how these change while the clip runs.

Lengths are fractions of the side of the central square of the picture, so that a centre crop never cuts an object's path.
Time u runs from 0 (first frame) to 1 (last frame).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[float, float, float]

SHAPES = ("circle", "square", "triangle", "star")
COLOURS: dict[str, Colour] = {
    "red": (224, 66, 62),
    "yellow": (250, 196, 54),
    "green": (60, 168, 100),
    "blue": (62, 116, 226),
}
RADIUS = {"small": 0.09, "big": 0.16}
MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
# Reversed in time, each of these becomes another action, so its caption is right for one direction of time only.
RESIZED = ("grow", "shrink")
KINDS = {"moves": tuple(MOVES), "sizes": RESIZED, "fades": ("fade in", "fade out"), "colours": ("recolour",)}
DIRECTED = tuple(itertools.chain.from_iterable(KINDS.values()))
UNDIRECTED = ("spin", "blink", "stay")
TONES: dict[str, tuple[tuple[Colour, Colour], ...]] = {
    "light": (
        ((250, 243, 230), (240, 222, 196)),
        ((232, 244, 248), (200, 222, 236)),
        ((246, 236, 246), (224, 206, 230)),
        ((236, 246, 232), (206, 228, 204)),
    ),
    "dark": (
        ((44, 48, 68), (24, 26, 42)),
        ((58, 46, 66), (34, 26, 44)),
        ((36, 58, 62), (20, 36, 42)),
        ((64, 54, 48), (38, 32, 30)),
    ),
}
TRAVEL = 0.29  # half the way of a moving object
SPREAD = 0.25  # objects keep this distance at the start, the middle and the end


@dataclass(frozen=True)
class Thing:
    """One object: how it looks, where it is in the middle of the clip, what it does."""

    shape: str
    colour: str
    size: str
    action: str
    x: float
    y: float
    recolour: str = ""  # the colour it turns to, for the action `recolour`

    def key(self) -> tuple[object, ...]:
        """The visible traits of the object; one that grows or shrinks does not show the size it was drawn with."""
        size = "" if self.action in RESIZED else self.size
        return (self.shape, self.colour, size, self.action, self.recolour, round(self.x * 8), round(self.y * 8))


@dataclass(frozen=True)
class Scene:
    """One to three objects on a background. `ground` is (tone, number of the gradient)."""

    things: tuple[Thing, ...]
    ground: tuple[str, int]

    def key(self) -> tuple[object, ...]:
        """The content of the scene, without the exact places: two splits never share a key."""
        return (self.ground, *sorted(thing.key() for thing in self.things))


@dataclass(frozen=True)
class State:
    """An object at one moment: centre, radius, angle in radians, opacity from 0 to 1, colour from 0 to 255."""

    shape: str
    x: float
    y: float
    radius: float
    angle: float
    alpha: float
    colour: Colour


def state(thing: Thing, u: float) -> State:
    """The object at time u in [0, 1]."""
    x, y, radius, angle, alpha = thing.x, thing.y, RADIUS[thing.size], 0.0, 1.0
    colour = COLOURS[thing.colour]
    action = thing.action
    if action in MOVES:
        dx, dy = MOVES[action]
        x, y = x + dx * TRAVEL * (2 * u - 1), y + dy * TRAVEL * (2 * u - 1)
    elif action in RESIZED:
        phase = u if action == "grow" else 1 - u
        radius = 0.06 + 0.19 * phase
    elif action in ("fade in", "fade out"):
        alpha = 0.08 + 0.92 * (u if action == "fade in" else 1 - u)
    elif action == "recolour":
        # The change takes the middle half of the clip, so that both colours are plain at its ends.
        mix = min(max(2 * u - 0.5, 0.0), 1.0)
        target = COLOURS[thing.recolour]
        colour = tuple((1 - mix) * a + mix * b for a, b in zip(colour, target, strict=True))  # type: ignore[assignment]
    elif action == "spin":
        angle = 1.7 * math.pi * u  # not a whole turn, or sampled frames of a square look alike
    elif action == "blink":
        alpha = 1.0 if math.cos(6 * math.pi * u) > -0.3 else 0.0
    return State(shape=thing.shape, x=x, y=y, radius=radius, angle=angle, alpha=alpha, colour=colour)


def sample(rng: np.random.Generator, *, grounds: tuple[int, ...], counts: tuple[float, float, float]) -> Scene:
    """Draw a scene with gradients from `grounds` and one, two or three objects with the probabilities `counts`."""
    ground = (pick(rng, tuple(TONES)), pick(rng, grounds))
    number = 1 + int(np.searchsorted(np.cumsum(counts[:2]), rng.random(), side="right"))
    # All places are drawn again after a collision: a crossing pair can leave no room for a third object.
    while True:
        things = tuple(_thing(rng) for _ in range(number))
        if all(_apart(a, b) for a, b in itertools.combinations(things, 2)):
            return Scene(things=things, ground=ground)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options; `Generator.choice` would copy them into an array each time."""
    return options[int(rng.integers(len(options)))]


def _thing(rng: np.random.Generator) -> Thing:
    group = DIRECTED if rng.random() < 0.8 else UNDIRECTED
    action, colour = pick(rng, group), pick(rng, tuple(COLOURS))
    others = [name for name in COLOURS if name != colour]
    horizontal, vertical = MOVES.get(action, (0, 0))
    return Thing(
        # A circle that spins looks like a circle that stays.
        shape=pick(rng, SHAPES[1:] if action == "spin" else SHAPES),
        colour=colour,
        size=pick(rng, tuple(RADIUS)),
        action=action,
        x=0.5 if horizontal else float(rng.uniform(0.22, 0.78)),
        y=0.5 if vertical else float(rng.uniform(0.22, 0.78)),
        recolour=pick(rng, others) if action == "recolour" else "",
    )


def _apart(a: Thing, b: Thing) -> bool:
    """Whether two objects differ in look and keep their distance."""
    if (a.shape, a.colour) == (b.shape, b.colour):
        return False
    pairs = [(state(a, u), state(b, u)) for u in (0.0, 0.5, 1.0)]
    return all(math.hypot(p.x - q.x, p.y - q.y) >= SPREAD for p, q in pairs)
