"""Texts as people see them: blanks that are none, names that look alike, values that are too long to show."""

import unicodedata

UNSEEN = ("Cc", "Cf", "Mn", "Zl", "Zp", "Zs")  # Unicode's categories of controls, joiners, marks that need a letter, and blanks
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that are blanks
LONGEST = 100  # characters of a value in a message


def blank(text: str) -> bool:
    """Whether nothing of a text has a shape; joiners beside letters are part of a text."""
    if text.isascii() and text.isprintable():
        return not text.strip()
    return all(unicodedata.category(letter) in UNSEEN or letter in FILLERS for letter in text)


def folded(name: str) -> str:
    """Equal for names that look alike: composed or not, large or small letters, any blank, any slash, with or without joiners."""
    if not name.isascii():
        shape = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        name = "".join(letter for letter in shape if unicodedata.category(letter) != "Cf")
    return name.lower().replace("\\", "/")


def shown(value: str) -> str:
    """A value in quotes, in one line, and cut where it is long."""
    return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}...")


def escaped(text: str) -> str:
    """A text in one line, cut where it is long."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in cut)
