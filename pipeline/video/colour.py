"""The step that brings the colours of any video to BT.709, after the frame rate is made and before the picture is scaled.

HDR is shown as a player for SDR screens shows it: light in units of diffuse white (203 cd/m², BT.2408), BT.709's primaries, and then a
curve on the largest of R, G and B, which keeps the hue: equal up to KNEE, above it (a x + b) / (x + c), which leaves the knee with slope 1
and takes PEAK to 1. Diffuse white comes out at 247 of 255. HLG is shown as on its reference display: 1,000 cd/m², gamma 1.2 (BT.2100).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.video.tags import (
    BT601,
    BT709,
    BT2020,
    CONSTANT,
    FULL,
    MATRICES,
    PQ,
    PRIMARIES,
    UNSAID,
    USUAL_MATRICES,
    USUAL_PRIMARIES,
    USUAL_TRANSFERS,
    WIDE,
    Meaning,
    Tags,
    meaning,
)

WHITE = 203  # cd/m²: diffuse white, which SDR's white is
KNEE = 0.85  # of diffuse white: what is darker stays as it is
PEAK = 10000 / WHITE  # the brightest that PQ can say
LARGE = (1280, 577)  # pixels: from this width or height on players take BT.709 where nothing is said
# What takes the matrix out of the bitstream of codecs that hold one; 0 is "not said" in VP9, and the least harmful in ProRes.
WITHOUT_MATRIX = {"h264": "h264_metadata=matrix_coefficients=2", "hevc": "hevc_metadata=matrix_coefficients=2"}
WITHOUT_MATRIX |= {"av1": "av1_metadata=matrix_coefficients=2", "mpeg2video": "mpeg2_metadata=matrix_coefficients=2"}
WITHOUT_MATRIX |= {"vp9": "vp9_metadata=color_space=0", "prores": "prores_metadata=colorspace=0"}
Filter = tuple[str, dict[str, Any]]
SDR: dict[str, Any] = {"matrix": BT709, "primaries": BT709, "transfer": BT709, "range": "limited", "agamma": 0}
# `agamma`: without it HLG gets its system gamma on each of R, G, B alone, and saturated colours come out wrong.
TONE_MAP: tuple[Filter, ...] = (
    ("zscale", {"matrix": 0, "primaries": BT709, "transfer": "linear", "range": "full", "npl": WHITE, "agamma": 0}),
    ("format", {"pix_fmts": "gbrpf32le"}),
    ("tonemap", {"tonemap": "mobius", "param": KNEE, "peak": round(PEAK, 4), "desat": 0}),
    ("zscale", SDR),
)
# Constant luminance is made from the light that a camera sees, so it comes back as light to the power 1/2.4: to BT.709's own curve.
_CAMERA = "65535*if(lt(val,65535*0.188),4.5*pow(val/65535,2.4),1.0993*pow(val/65535,1.08)-0.0993)"
CAMERA: tuple[Filter, ...] = (
    ("zscale", {"matrix": 0, "range": "full", "agamma": 0}),
    ("format", {"pix_fmts": "gbrp16le"}),
    ("lutrgb", dict.fromkeys("rgb", _CAMERA)),
)
EXACT = {"flags": "bicubic+accurate_rnd"}
DEEP: Filter = ("format", {"pix_fmts": "yuv444p16le"})
LAYOUTS: Filter = ("format", {"pix_fmts": "|".join(f"yuv{kind}p{deep}" for deep in ("", "10le", "12le") for kind in (420, 422, 444))})
# Where the tags change, the plain scaler, which follows each picture's, makes one kind of all of them.
SAME = EXACT | {"out_color_matrix": "bt709", "out_range": "limited"}
WIDER = {"out_primaries": "bt709", "out_transfer": "bt709"}
TO_PQ = {"out_color_matrix": "bt2020nc", "out_primaries": "bt2020", "out_transfer": "smpte2084"}


@dataclass(frozen=True)
class Step:
    """Filters for a stream's colours, options to read it with, and "" or what is wrong with its colours.

    `opening`: filters that go before any others, where there are some before `filters`.
    """

    filters: tuple[Filter, ...] = ()
    reading: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    opening: tuple[Filter, ...] = ()


AS_IT_IS = Step()


def step(seen: Sequence[Tags], *, codec: str, index: int, size: tuple[int, int], side: int, ratio: float = 1.0) -> Step:
    """The filters that make BT.709 of a stream whose pictures, of `size`, had the tags `seen`, the first picture's first.

    `index`: as in 0:v:index; `side`: pixels of the clip's short side, of which the step leaves twice as many; `ratio`: how many times as
    wide as high a pixel is.
    """
    if not seen:
        return AS_IT_IS
    means, smaller = _meanings(seen, size), _smaller(size, side, ratio)
    if not all(means[0].like(other) for other in means):
        filters = _of_each(seen, means, even=not any(length % 2 for length in size), smaller=smaller)
    elif means[0].is_usual:
        filters = _named(seen, means[0])
    else:
        filters = _converted(means[0], rgb=seen[0].rgb, smaller=smaller)
    lacks = dict.fromkeys(lack for found in means for lack in found.lacks)
    reason = f"the colours are taken as untagged in part: their {' and '.join(lacks)} cannot be converted" if lacks else ""
    return Step(filters, _reading(seen, codec, index), reason, _opening(seen) if len({found.matrix for found in means}) == 1 else ())


def untagged(seen: Sequence[Tags], *, codec: str, index: int, size: tuple[int, int]) -> Step:
    """The filters where `step` failed: nothing is believed of the tags but the range."""
    blank = Tags(UNSAID, UNSAID, UNSAID, 0, seen[0].rgb)
    names = _names(blank, _meanings([blank], size)[0])
    reason = "the colours are taken as untagged: they could not be converted as their tags say"
    return Step((("setparams", names),), _reading(seen, codec, index), reason, _opening(seen))


def _smaller(size: tuple[int, int], side: int, ratio: float) -> dict[str, str]:
    """Width and height for the first filter, since light of 4K takes half a second a picture; none if the picture is small enough."""
    # Neither length may become less than twice that of the clip, for which pixels that are wide or high are made square.
    most = int(min(size[0] * ratio, size[1]) / (2 * side * max(ratio, 1)))
    # A length that is rounded would change the shape.
    by = max((by for by in range(1, most + 1) if not any(length % (2 * by) for length in size)), default=1)
    return {"width": f"2*round(iw/{by}/2)", "height": f"2*round(ih/{by}/2)"} if by > 1 else {}


def _meanings(seen: Sequence[Tags], size: tuple[int, int]) -> list[Meaning]:
    large = size[0] >= LARGE[0] or size[1] >= LARGE[1]
    first = meaning(seen[0], large=large)
    # FFmpeg, too, reads a picture without a matrix like the one that the file began with, if that had one.
    before = first if seen[0].matrix in USUAL_MATRICES else None
    return [first, *(meaning(tags, large=large, before=before) for tags in seen[1:])]


def _reading(seen: Sequence[Tags], codec: str, index: int) -> dict[str, str]:
    """Takes a reserved matrix out of container and stream: no filter can, since none may begin with it."""
    if all(tags.matrix in (UNSAID, *MATRICES) for tags in seen):
        return {}
    found = {f"colorspace:v:{index}": "unknown"}
    return found | ({f"bsf:v:{index}": WITHOUT_MATRIX[codec]} if codec in WITHOUT_MATRIX else {})


def _opening(seen: Sequence[Tags]) -> tuple[Filter, ...]:
    """Hides a matrix that the plain scaler refuses, though it leaves the colours alone; `Step.filters` name the right one again."""
    plain = {0, UNSAID, *USUAL_MATRICES}
    return () if all(tags.matrix in plain for tags in seen) else (("setparams", {"colorspace": BT709}),)


def _named(seen: Sequence[Tags], found: Meaning) -> tuple[Filter, ...]:
    """Names for what is usual; no filter where all names are right as they are."""
    names = _names(seen[0], found)
    right = {_valid(tags) for tags in seen} == {True}
    guessed = names["colorspace"] != seen[0].matrix
    return () if right and not guessed else (("setparams", names),)


def _valid(tags: Tags) -> bool:
    """Whether FFmpeg takes these tags without an error."""
    matrices = {0} if tags.rgb else {UNSAID, *USUAL_MATRICES}
    fine = tags.matrix in matrices and tags.primaries in {UNSAID, *USUAL_PRIMARIES}
    return fine and tags.transfer in {UNSAID, *USUAL_TRANSFERS}


def _names(tags: Tags, found: Meaning) -> dict[str, Any]:
    """The tags of the clip, where its pictures are taken as they are."""
    # An untagged clip is read by BT.601, like the files of small pictures that say nothing.
    matrix = tags.matrix if tags.rgb or tags.matrix in USUAL_MATRICES else UNSAID if found.matrix == BT601 else found.matrix
    rest = BT709 if matrix == BT709 != tags.matrix else UNSAID
    primaries = tags.primaries if tags.primaries in USUAL_PRIMARIES else rest
    return {
        "colorspace": matrix,
        "color_primaries": primaries,
        "color_trc": tags.transfer if tags.transfer in USUAL_TRANSFERS else rest,
    }


def _converted(found: Meaning, *, rgb: bool, smaller: dict[str, str]) -> tuple[Filter, ...]:
    """For a stream that means the same all the time."""
    extent = "full" if found.range == FULL else "limited"
    # What changes the layout of pixels refuses tags that it does not know. All pixels of their own: sizes may be odd.
    plain = {"colorspace": 0 if rgb else BT709, "color_primaries": BT709, "color_trc": BT709, "range": extent}
    true = plain | {"colorspace": found.matrix, "color_primaries": found.primaries, "color_trc": found.transfer}
    layout = ("format", {"pix_fmts": "gbrp16le"}) if rgb else DEEP
    first = (("setparams", plain), ("scale", smaller | EXACT), layout, ("setparams", true))
    luminance = CAMERA if found.matrix in CONSTANT else ()
    return (*first, *luminance, *(TONE_MAP if found.is_hdr else (("zscale", SDR),)), DEEP)


def _of_each(seen: Sequence[Tags], means: Sequence[Meaning], *, even: bool, smaller: dict[str, str]) -> tuple[Filter, ...]:
    """For a stream whose pictures mean different things, each picture by its own tags."""
    one, ranges, hdr = means[0], {found.range for found in means}, any(found.is_hdr for found in means)
    alike = all(replace(found, range=one.range).like(one) for found in means)
    said = all(tags.matrix == found.matrix and tags.primaries in PRIMARIES for tags, found in zip(seen, means, strict=True))
    if even and (alike or said) and one.matrix not in CONSTANT:
        source = {"matrixin": one.matrix, "primariesin": one.primaries, "transferin": one.transfer} if alike else {}
        (name, options), *rest = TONE_MAP if hdr else (("zscale", SDR),)
        return ((name, options | source | smaller), *rest, DEEP)
    # The range first: where H.264 begins in full range, the layout of its pixels says full range to the end.
    first: tuple[Filter, ...] = (("zscale", {"range": "limited"}), LAYOUTS) if even and len(ranges) > 1 else ()
    if not hdr:
        return (*first, ("scale", SAME | smaller | (WIDER if any(found.primaries in WIDE for found in means) else {})), DEEP)
    true = {"colorspace": BT2020, "color_primaries": BT2020, "color_trc": PQ, "range": "limited"}
    return (*first, ("scale", SAME | smaller | TO_PQ), DEEP, ("setparams", true), *TONE_MAP, DEEP)
