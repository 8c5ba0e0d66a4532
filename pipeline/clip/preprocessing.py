"""The steps between a picture and a tower, which belong to the weights: they were trained so."""

import re
from dataclasses import dataclass

RESIZES = {"shortest": "crop", "squash": "squash"}  # from open_clip's names to those of `frames.resize`
NUMBERS = r"\(([-+.e\d]+), ([-+.e\d]+), ([-+.e\d]+)\)"


@dataclass(frozen=True)
class Preprocessing:
    """`mean` and `std` of the red, green and blue of a picture, whose values are 0 to 1; `resize` and `interpolation` as in `Frames`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"
    interpolation: str = "bicubic"

    def __str__(self) -> str:
        """As stores and adapters carry it. The usual one is not noted: they are older than the choice."""
        numbers = f"mean {self.mean}, deviation {self.std}"
        usual = (self.resize, self.interpolation) == ("crop", "bicubic")
        return numbers if usual else f"{numbers}, {self.resize}, {self.interpolation}"

    @classmethod
    def read(cls, said: str) -> "Preprocessing":
        """The inverse of `str`. ValueError for another text."""
        found = re.fullmatch(rf"mean {NUMBERS}, deviation {NUMBERS}(?:, (\w+), (\w+))?", said)
        if not found:
            raise ValueError(f"preprocessing is {said!r}; it takes mean, deviation, and how a picture is resized")
        numbers = [float(part) for part in found.groups()[:6]]
        return cls(tuple(numbers[:3]), tuple(numbers[3:]), *filter(None, found.groups()[6:]))
