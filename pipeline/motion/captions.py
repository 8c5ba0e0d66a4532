"""Say in natural English what a scene shows: captions of clips, and captions of still pictures."""

import numpy as np

from pipeline.motion.scene import KINDS, MOVES, RESIZED, Scene, State, Thing, pick, state

WAYS = {"left": ("to the left", "left"), "right": ("to the right", "right"), "up": ("up", "to the top"), "down": ("down", "to the bottom")}
MOVING = ("moves", "slides", "drifts", "goes")
DOING = {
    "grow": ("grows", "gets bigger", "becomes big"),
    "shrink": ("shrinks", "gets smaller", "becomes small"),
    "fade in": ("fades in", "slowly appears", "becomes visible"),
    "fade out": ("fades out", "slowly disappears", "becomes invisible"),
    "spin": ("spins", "rotates", "turns around"),
    "blink": ("blinks", "flashes on and off"),
    "stay": ("stays still", "does not move", "rests"),
}
SEVERAL = "several"
TOLD_FROM = 0.6  # of a scene: from here on a still caption may tell the deed
JOINS = (" while ", " and ", " as ")


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the whole clip that names what every object does."""
    order = rng.permutation(len(scene.things))
    parts = [f"{_look(scene.things[i], rng)} {deed(scene.things[i], rng)}" for i in order]
    text = pick(rng, JOINS).join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"
    if len(parts) == 1 and rng.random() < 0.4:
        text += f" on a {scene.ground[0]} background"
    return text


def action(scene: Scene) -> str:
    """The kind of action that makes a caption right for one direction of time only: a key of KINDS, SEVERAL, or "" where none does."""
    found = {kind for thing in scene.things for kind, actions in KINDS.items() if thing.action in actions}
    return SEVERAL if len(found) > 1 else "".join(found)


def deed(thing: Thing, rng: np.random.Generator) -> str:
    """Verb phrase for what the object does."""
    if thing.action in MOVES:
        return f"{pick(rng, MOVING)} {pick(rng, WAYS[thing.action])}"
    if thing.action == "recolour":
        return f"{pick(rng, ('changes', 'turns'))} from {thing.colour} to {thing.recolour}"
    return pick(rng, DOING[thing.action])


def _look(thing: Thing, rng: np.random.Generator) -> str:
    size = "" if thing.action in RESIZED or rng.random() < 0.6 else f"{thing.size} "
    # "a red star turns from red to blue" would be said twice
    colour = "" if thing.action == "recolour" else f"{thing.colour} "
    return f"{pick(rng, ('a', 'the'))} {size}{colour}{thing.shape}"


def still_caption(scene: Scene, u: float, rng: np.random.Generator) -> str:
    """A caption of the picture at time u: looks, places and sizes, and late in the scene also what has been going on.

    As with photographs in the wild, a verb is told of a picture that shows the result: who reads that a star "moves left" sees a
    star on the left. So CLIP learns what each verb ends in; which of two pictures came first, no still can teach it.
    """
    parts = [_still_part(thing, u, rng) for thing in scene.things]
    text = pick(rng, (" and ", " with ")).join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"
    return f"{text} on a {scene.ground[0]} background" if rng.random() < 0.3 else text


def placed_caption(scene: Scene, u: float, rng: np.random.Generator) -> str:
    """A caption of the picture at time u with looks and places, but no sizes: often the place alone tells two pictures apart."""
    parts = []
    for thing in scene.things:
        now = state(thing, u)
        words = [pick(rng, ("a", "the")), _faint(now), _colour(thing, u), thing.shape, _place(now.x, now.y)]
        parts.append(" ".join(word for word in words if word))
    return pick(rng, (" and ", " with ")).join(parts)


def _still_part(thing: Thing, u: float, rng: np.random.Generator) -> str:
    now = state(thing, u)
    size = "small" if now.radius < 0.1 else "big" if now.radius > 0.14 else ""
    words = [pick(rng, ("a", "the")), size if rng.random() < 0.6 else "", _faint(now), _colour(thing, u), thing.shape]
    text = " ".join(word for word in words if word)
    if u > TOLD_FROM and rng.random() < 0.7:
        place = f" {_place(now.x, now.y)}" if rng.random() < 0.3 else ""
        return f"{_told(words, thing)}{place} {deed(thing, rng)}"
    return f"{text} {_place(now.x, now.y)}" if rng.random() < 0.7 else text


def _faint(now: State) -> str:
    return "faint" if now.alpha < 0.35 else ""


def _colour(thing: Thing, u: float) -> str:
    """The colour at time u; halfway through a change there is no word for the mixture."""
    if thing.action != "recolour":
        return thing.colour
    return "" if abs(u - 0.5) <= 0.22 else thing.recolour if u > 0.5 else thing.colour


def _told(words: list[str], thing: Thing) -> str:
    """The looks without the colour where the deed names it."""
    return " ".join(word for word in words if word and not (thing.action == "recolour" and word == thing.recolour))


def _place(x: float, y: float) -> str:
    across = "left" if x < 0.4 else "right" if x > 0.6 else ""
    along = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    if across and along:
        return f"at the {along} {across}"
    if across:
        return f"on the {across}"
    return f"at the {along}" if along else "in the middle"
