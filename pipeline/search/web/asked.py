"""Parameters of a request, read strictly: anything unknown, missing or out of bounds is refused in one sentence."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from pipeline.config.parse import refuse_unknown

NAME = 1000  # characters of the name of an index or a video
K = 100  # results
FIELDS = 16  # parameters of one request


class Refused(Exception):
    """A request that is not met: its status, and a sentence for the user."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Asked:
    """The parameters of an address, each given once, but for those named in `many`.

    Refused: one that is in neither `needed` nor `free`, one of `needed` that is not there, and text that is not UTF-8.
    """

    def __init__(self, query_string: bytes, *, needed: Sequence[str] = (), free: Sequence[str] = (), many: Sequence[str] = ()) -> None:
        found: dict[str, list[str]] = {}
        for name, value in _pairs(query_string):
            found.setdefault(name, []).append(value)
        try:
            for name in found:
                refuse_unknown(name[:40], [*needed, *free], what="there is no parameter", there="there are")
        except ValueError as error:
            raise Refused(400, str(error)) from error
        for name in needed:
            if name not in found:
                raise Refused(400, f"the parameter {name} is missing")
        for name, values in found.items():
            if len(values) > 1 and name not in many:
                raise Refused(400, f"the parameter {name} is given {len(values)} times")
        self._found: Mapping[str, list[str]] = found

    def text(self, name: str, *, most: int = NAME) -> str:
        """Plain text of at most `most` characters; spaces at the ends, and several in a row, do not count."""
        text = " ".join(self._found[name][0].split())
        if len(text) > most:
            raise Refused(400, f"{name} has {len(text):,} characters, and at most {most:,} are read")
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise Refused(400, f"{name} holds a character that cannot be printed")
        return text

    def exact(self, name: str) -> list[str]:
        """Names as they are, each of them given."""
        if any(len(value) > NAME for value in self._found[name]):
            raise Refused(400, f"{name} has more than {NAME:,} characters")
        return self._found[name]

    def number(self, name: str, *, most: int, least: int = 0, default: int | None = None) -> int:
        """A whole number from `least` to `most`."""
        if name not in self._found and default is not None:
            return default
        said = self._found[name][0]
        # Only ASCII digits, and few: int() also takes other scripts, signs, underscores, and time for a million digits.
        if not re.fullmatch(r"[0-9]{1,9}", said) or not least <= int(said) <= most:
            raise Refused(400, f"{name} is a whole number from {least} to {most:,}, not {said[:40]!r}")
        return int(said)

    def seconds(self, name: str) -> float:
        """A time in a clip."""
        said = self._found[name][0]
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said) or not math.isfinite(float(said)):
            raise Refused(400, f"{name} is a time in seconds, not {said[:40]!r}")
        return float(said)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except UnicodeDecodeError as error:
        raise Refused(400, "the address holds text that is not UTF-8") from error
    except ValueError as error:
        raise Refused(400, f"the address has more than {FIELDS} parameters") from error
