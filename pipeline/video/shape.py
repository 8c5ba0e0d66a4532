"""Whether a picture of some shape can become a clip."""

from pipeline.config.dataset import ClipFormat
from pipeline.video.probe import Probe

LONGEST = 16384  # pixels a side that the encoder takes


def ratio(found: Probe, settings: ClipFormat) -> float:
    """How many times as wide as high a pixel is in the clip; 1 where the file does not say, or the settings take it as stored."""
    across, down = (int(part) for part in (found.sar or "1:1").split(":"))
    return across / down if settings.pixels == "square" and across and down else 1.0


def refuse(found: Probe, *, settings: ClipFormat, name: str) -> None:
    """ValueError for a picture so narrow that the clip, whose short side is given, would be too long."""
    wide = found.width * ratio(found, settings)
    short, long = sorted((wide, float(found.height)))
    if not short:
        raise ValueError(f"{name} states a picture of {found.width}x{found.height} pixels")
    side = round(settings.short_side * long / short)
    if side > LONGEST:
        stored = f"{found.width}x{found.height} pixels" + (f" of the shape {found.sar}" if wide != found.width else "")
        raise ValueError(
            f"{name} has a picture of {stored}, too narrow for a clip: with a short side of {settings.short_side} pixels"
            f" the long one would have {side}, and a clip's has at most {LONGEST}"
        )
