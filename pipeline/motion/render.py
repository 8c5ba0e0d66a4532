"""Draw scenes: signed distances give every shape a smooth edge at any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.motion.scene import TONES, Scene, State, state

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]


def ground(scene: Scene, *, height: int, width: int) -> Floats:
    """The background, a vertical gradient of (height, width, 3) from 0 to 255."""
    tone, number = scene.ground
    top, bottom = (np.asarray(c, np.float32) for c in TONES[tone][number])
    mix = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to((1 - mix) * top + mix * bottom, (height, width, 3)).copy()


def frame(scene: Scene, u: float, *, canvas: Floats) -> Image:
    """The scene at time u on a copy of `canvas`: (height, width, 3), uint8."""
    picture = canvas.copy()
    for thing in scene.things:
        draw(picture, state(thing, u))
    # Half up, so that the rounding does not depend on the platform.
    return (picture + 0.5).astype(np.uint8)


def draw(picture: Floats, thing: State) -> None:
    """Blend one object into `picture` (height, width, 3) in place."""
    height, width = picture.shape[:2]
    side = min(height, width)
    cx, cy = (width - side) / 2 + thing.x * side, (height - side) / 2 + thing.y * side
    radius = thing.radius * side
    reach = 1.5 * radius + 2
    x0, x1 = max(int(cx - reach), 0), min(int(cx + reach) + 1, width)
    y0, y1 = max(int(cy - reach), 0), min(int(cy + reach) + 1, height)
    if x0 >= x1 or y0 >= y1 or thing.alpha == 0:
        return
    x = np.arange(x0, x1, dtype=np.float32)[None, :] + 0.5 - cx
    y = np.arange(y0, y1, dtype=np.float32)[:, None] + 0.5 - cy
    cos, sin = np.float32(np.cos(thing.angle)), np.float32(np.sin(thing.angle))
    distance = DISTANCE[thing.shape](cos * x + sin * y, cos * y - sin * x, radius)
    cover = np.clip(0.5 - distance, 0, 1)[:, :, None] * np.float32(thing.alpha)
    patch = picture[y0:y1, x0:x1]
    # A soft light from above makes the shapes look round without changing their colour much.
    shade = np.clip(1.06 - 0.14 * (y / radius), 0.85, 1.2)[:, :, None]
    patch += cover * (np.clip(np.asarray(thing.colour, np.float32) * shade, 0, 255) - patch)


def _circle(x: Floats, y: Floats, radius: float) -> Floats:
    return np.sqrt(x * x + y * y) - np.float32(radius)


def _square(x: Floats, y: Floats, radius: float) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.86 * radius)


def _polygon(x: Floats, y: Floats, corners: list[tuple[float, float]]) -> Floats:
    """Distance to a convex polygon given clockwise on the screen (y points down)."""
    distance: Floats | None = None
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        side = ((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / np.float32(length)
        distance = side if distance is None else np.maximum(distance, side)
    assert distance is not None
    return distance


def _triangle(x: Floats, y: Floats, radius: float) -> Floats:
    r = 1.15 * radius
    return _polygon(x, y, [(0.0, -r), (0.9 * r, 0.62 * r), (-0.9 * r, 0.62 * r)])


def _star(x: Floats, y: Floats, radius: float) -> Floats:
    """A five-pointed star, folded onto half of one of its points."""
    outer, inner = 1.25 * radius, 0.52 * radius
    sector = np.float32(2 * np.pi / 5)
    angle = np.arctan2(x, -y)
    folded = np.abs(angle - sector * np.round(angle / sector))
    length = np.sqrt(x * x + y * y)
    px, py = length * np.sin(folded), length * np.cos(folded)
    half = np.pi / 5
    bx, by = inner * np.sin(half), inner * np.cos(half)
    edge = float(np.hypot(bx, by - outer))
    # On the side of the edge from the tip (0, outer) to the notch (bx, by) that looks away from the centre.
    outside: Floats = ((py - outer) * np.float32(bx) - px * np.float32(by - outer)) / np.float32(edge)
    return outside


DISTANCE: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}
