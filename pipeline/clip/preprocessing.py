"""What is done to a picture before a tower sees it, which belongs to the weights: they were trained so."""

from dataclasses import dataclass

RESIZES = {"shortest": "crop", "squash": "squash"}  # from open_clip's names to those of `frames.resize`


@dataclass(frozen=True)
class Preprocessing:
    """`mean` and `std` of the red, green and blue of a picture, whose values are 0 to 1; `resize` and `interpolation` as in `Frames`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"
    interpolation: str = "bicubic"

    def __str__(self) -> str:
        """As stores and adapters carry it. What is as usual is not said: they are older than the choice."""
        numbers = f"mean {self.mean}, deviation {self.std}"
        usual = (self.resize, self.interpolation) == ("crop", "bicubic")
        return numbers if usual else f"{numbers}, {self.resize}, {self.interpolation}"
