"""The ffmpeg command that makes a canonical clip."""

import functools
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from pipeline.config.dataset import ClipFormat
from pipeline.video import colour
from pipeline.video.formats import CONTAINERS, untrusted
from pipeline.video.interlaced import WHOLE, Fields, one_moment
from pipeline.video.tags import BT2020, LIMITED, PQ, Tags

LEAD = 5.0  # seconds before the start of a segment to jump to
ROUNDING = 2e-6  # seconds: what ffmpeg, which counts in microseconds here, may be wrong by


@dataclass(frozen=True)
class Cut:
    """The part of a video that becomes the clip, in seconds; `late` of a probe leads from a player's clock to the first picture."""

    start: float = 0.0  # after the first picture
    seconds: float = 0.0  # how much from there; 0: to the end of the video
    slack: float = 0.0  # how much too late the clock of the file may call a frame
    origin: float | None = None  # the file's clock at the first picture, to jump near the start; None: decode from the beginning


def recipe(settings: ClipFormat) -> str:
    """Twelve hex digits that change with the arguments or the version of ffmpeg, but not with the segment of one video."""
    # Of an HDR video, so that its curve is in it.
    hdr = colour.step([Tags(BT2020, BT2020, PQ, LIMITED)], codec="hevc", index=0, size=(1920, 1080), side=settings.short_side)
    cut = Cut(seconds=settings.seconds)
    arguments = command(Path("in"), Path("out"), index=0, cut=cut, settings=settings, strict=True, colours=hdr)[1:]
    return hashlib.sha256(json.dumps([version(), *arguments]).encode()).hexdigest()[:12]


@functools.cache
def version() -> str:
    """The version of the ffmpeg binary."""
    return str(imageio_ffmpeg.get_ffmpeg_version())


def count(seconds: float, *, fps: int) -> int:
    """How many of the times k/fps, k = 0, 1, ..., are less than `seconds`."""
    return math.ceil(round(seconds * fps, 6))


def command(
    source: Path,
    part: Path,
    *,
    index: int,
    cut: Cut,
    settings: ClipFormat,
    strict: bool,
    fields: Fields = WHOLE,
    colours: colour.Step = colour.AS_IT_IS,
) -> list[str]:
    """The arguments that write `part`. `index`: which of the video streams; `strict`: end with an error where the video has one."""
    # "file:", so that a name may begin with a dash or hold a colon.
    # One filter graph to the end: a new one, where a stream changes its size, would start its clock again.
    reading = {"reinit_filter": 0} | untrusted(CONTAINERS, strict=strict) | colours.reading
    if cut.origin is not None:
        reading |= {"copyts": None, "seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{cut.origin + cut.start - LEAD:.6f}"}
    picture = ffmpeg.input(f"file:{source}", **reading)[f"v:{index}"]
    picture = _through(picture, colours.opening if fields.two else ())
    picture = _through(_at_rate(one_moment(picture, fields), cut, settings), colours.filters)
    # One thread, and no version or date in the file: equal input gives equal bytes. A slower preset than `veryfast` doubles the time of
    # small videos for 1 to 2 dB of 46 and files that are not smaller (docs/results/data.md).
    writing: dict[str, Any] = {"c:v": "libx264", "preset": "veryfast", "crf": settings.crf, "threads": 1}
    writing |= {"g": settings.fps, "keyint_min": 1, "sc_threshold": 0, "bf": 0, "fps_mode": "passthrough"}
    writing |= {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "movflags": "+faststart"}
    clip = ffmpeg.output(_in_size(picture, settings), f"file:{part}", format="mp4", **writing)
    quiet = ("-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1")
    arguments: list[str] = clip.global_args(*quiet).overwrite_output().compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return arguments


def _through(picture: Any, filters: Sequence[colour.Filter]) -> Any:
    for name, options in filters:
        picture = picture.filter(name, **options)
    return picture


def _at_rate(picture: Any, cut: Cut, settings: ClipFormat) -> Any:
    """Frame k is what is shown at start + k/fps seconds after the first picture."""
    shift = round((cut.start + max(cut.slack, ROUNDING)) * 1e6)
    if cut.origin is None:
        time = f"PTS-STARTPTS-{shift}"
    else:
        shift += round(cut.origin * 1e6)
        # No frame at all if the jump went too far.
        time = f"if(gt(STARTPTS,{shift}),NAN,PTS-({shift}))"
    picture = picture.filter("settb", "AVTB").filter("setpts", time).filter("fps", settings.fps, round="up", start_time=0)
    return picture.filter("trim", end_frame=max(count(cut.seconds, fps=settings.fps), 1)) if cut.seconds else picture


def _in_size(picture: Any, settings: ClipFormat) -> Any:
    """The short side as wanted, the other one in proportion and even."""
    # The filter says 1 for a shape of pixels that is not known, and has turned the picture upright before.
    wide, side = {"square": "iw*sar", "stored": "iw"}[settings.pixels], settings.short_side
    width = f"if(gte({wide},ih),2*round({side}*{wide}/ih/2),{side})"
    height = f"if(gte({wide},ih),{side},2*round({side}*ih/({wide})/2))"
    return picture.filter("scale", width, height, flags="bicubic+accurate_rnd").filter("setsar", 1).filter("format", "yuv420p")
