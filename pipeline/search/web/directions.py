"""Words that are true in one direction of time only, and what the same video shows when it runs backwards."""

import re

PAIRS = (
    ("up", "down"),
    ("upwards", "downwards"),
    ("left", "right"),
    ("to the top", "to the bottom"),
    ("grows", "shrinks"),
    ("gets bigger", "gets smaller"),
    ("becomes big", "becomes small"),
    ("fades in", "fades out"),
    ("slowly appears", "slowly disappears"),
    ("appears", "disappears"),
    ("becomes visible", "becomes invisible"),
    ("opens", "closes"),
    ("opening", "closing"),
    ("enters", "leaves"),
    ("pushes", "pulls"),
    ("lifts", "lowers"),
    ("into", "out of"),
    ("picks up", "puts down"),
    ("stands up", "sits down"),
    ("forwards", "backwards"),
)
OTHER = {ours: theirs for pair in PAIRS for ours, theirs in (pair, pair[::-1])}
CHANGE = re.compile(r"\b(from) (\w+) (to) (\w+)\b")  # "from red to blue"
WORDS = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, OTHER), key=len, reverse=True)) + r")\b")


def turned(sentence: str) -> str:
    """The sentence for the same video backwards, "" if it names no direction that is known here."""
    found = CHANGE.sub(r"\1 \4 \3 \2", WORDS.sub(lambda match: OTHER[match[0]], sentence))
    return found if found != sentence else ""
