"""Any video file -> the canonical clip: H.264 at a constant rate, a keyframe each second, no sound, the same bytes each time."""

import hashlib
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from av.error import FFmpegError

from pipeline.config.dataset import ClipFormat
from pipeline.core.formatting import moment
from pipeline.video import shape
from pipeline.video.command import Cut, count, recipe, version
from pipeline.video.encode import encode, is_empty, readable
from pipeline.video.formats import picture, still
from pipeline.video.probe import Probe, opened, probe
from pipeline.video.signature import Small, Tiles, signature
from pipeline.video.tags import columns

TIMEOUT = 600.0  # seconds a pass
TOLERATED = 2  # frames more or fewer than the duration promises
JUMP = 10.0  # seconds: a segment that starts later is not decoded from the beginning of the video
# The report of a shard, one row a video; a number that is not known is null.
COLUMNS: dict[str, pa.DataType] = {
    "video_id": pa.string(),
    "src_bytes": pa.int64(),
    "src_sha256": pa.string(),
    "codec": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "sar": pa.string(),
    "rotation": pa.int32(),
    "fps_avg": pa.float64(),
    "fps_r": pa.float64(),
    "n_frames": pa.int64(),
    "duration": pa.float64(),
    "late": pa.float64(),
    "has_audio": pa.bool_(),
    "pix_fmt": pa.string(),
    "track": pa.string(),
    "field_order": pa.string(),
    # As the stream says them: "" is nothing, and several where they change.
    "matrix": pa.string(),
    "primaries": pa.string(),
    "transfer": pa.string(),
    "range": pa.string(),
    "out_path": pa.string(),
    "out_sha256": pa.string(),
    "out_start": pa.float64(),
    "out_frames": pa.int64(),
    "out_width": pa.int32(),
    "out_height": pa.int32(),
    "signature": pa.string(),
    "degraded": pa.bool_(),
    "status": pa.string(),
    "reason": pa.string(),
    "ffmpeg": pa.string(),
    "recipe": pa.string(),
}


def transcode(
    source: Path,
    target: Path,
    *,
    settings: ClipFormat,
    start: float | None = None,
    end: float | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Write the canonical clip of `source`, or of its part from `start` to `end` seconds, to `target`; a row about both.

    Times are those of a player. Frame k of the clip is what is on screen at out_start + k/fps seconds, up to `end`; the column out_start is
    `start`, or when the first picture is shown if that is later.
    A bad file does not raise: its row has the status `missing`, `unreadable`, or `degraded` (a clip is there, but not all of
    the video), and a sentence why. `timeout`: seconds for each pass, of which a good video needs one.
    Raises OSError if the disk, not the video, is at fault, and ValueError for settings or times that no video can satisfy.
    """
    _refuse_impossible(settings, start or 0.0, end)
    row = blank(settings)
    if not source.is_file():
        return row | {"status": "missing", "reason": "there is no such file"}
    with source.open("rb") as file:
        row |= {"src_bytes": source.stat().st_size, "src_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    part = target.with_name(target.name + ".part")
    part.touch()  # a folder that cannot be written to is not the video's fault
    folder = tempfile.TemporaryDirectory(prefix="petl-vtr-film-")
    try:
        film, trouble = readable(source, Path(folder.name), timeout=timeout)
        found = probe(film)
        row |= {key: value for key, value in asdict(found).items() if key in row} | columns(found.colours)
        row |= {"field_order": found.fields.order} | ({} if film == source else {"codec": "webp"})
        if found.n_frames < 2 and picture(source):
            raise still(source)
        shape.refuse(found, settings=settings, name=source.name)
        cut, promised, lack = _cut(found, settings=settings, start=start or 0.0, end=end)
        reason = encode(film, part, found=found, cut=cut, settings=settings, timeout=timeout)
        made, doubts = _checked(part, seconds=promised, settings=settings)
        part.replace(target)
    except ValueError as error:
        return row | {"status": "unreadable", "reason": str(error)}
    finally:
        part.unlink(missing_ok=True)
        folder.cleanup()
    reasons = "; ".join(filter(None, [trouble, reason, lack, doubts]))
    made |= {"out_start": max(start or 0.0, found.late)}
    return row | made | {"degraded": bool(reasons), "status": "degraded" if reasons else "ok", "reason": reasons}


def blank(settings: ClipFormat) -> dict[str, Any]:
    """A row about a file that nothing is known of."""
    empty = {name: "" if kind == pa.string() else None for name, kind in COLUMNS.items() if name not in ("video_id", "out_path")}
    return empty | {"degraded": False, "ffmpeg": version(), "recipe": recipe(settings)}


def _refuse_impossible(settings: ClipFormat, start: float, end: float | None) -> None:
    if settings.short_side < 2 or settings.short_side % 2 or settings.fps < 1:
        raise ValueError(f"clips: H.264 needs an even short_side and fps >= 1, not {settings.short_side} and {settings.fps}")
    if not 0 <= start < (math.inf if end is None else end):
        raise ValueError(f"a segment needs 0 <= start < end, not start={start} and end={end} seconds")


def _cut(found: Probe, *, settings: ClipFormat, start: float, end: float | None) -> tuple[Cut, float, str]:
    """The part of the video to take, the seconds of it that should be there (0 if nothing says it), and "" or what it lacks.

    Raises ValueError if it ends before `start`, or nothing is shown before `end`.
    """
    if end is not None and end <= found.late:
        raise ValueError(f"the segment ends at {moment(end)} seconds, and the first picture is shown at {moment(found.late)}")
    # From here on seconds after the first picture.
    start, end = max(start - found.late, 0.0), None if end is None else end - found.late
    ends = found.length or found.duration
    if 0 < ends <= start:
        starts, ends = start + found.late, ends + found.late
        raise ValueError(f"the segment starts at {moment(starts)} seconds, and the video ends at {moment(ends)}")
    stop = min(math.inf if end is None else end, start + (settings.seconds or math.inf))
    doubt = ""
    if found.duration and stop == end and (end - found.duration) * settings.fps > TOLERATED:
        doubt = f"the segment ends at {moment(end + found.late)} seconds, and the video at {moment(found.duration + found.late)}"
    cut = Cut(
        start=start,
        seconds=stop - start if stop < math.inf else 0.0,
        # A clock of milliseconds says 0.667 for 2/3, and one of frames is exact.
        slack=found.tick / 2 if found.tick <= 0.001 else 0.0,
        origin=found.origin if start > JUMP else None,
    )
    return cut, max(min(stop, found.duration) - start, 0.0), doubt


def _checked(part: Path, *, seconds: float, settings: ClipFormat) -> tuple[dict[str, Any], str]:
    """The columns that describe the clip in `part`, and "" or what it lacks of `seconds`. ValueError if it is no canonical clip."""
    number, width, height, seen = _decoded(part, settings)
    if min(width, height) != settings.short_side:
        raise ValueError(f"the clip came out as {width}x{height} pixels, without a short side of {settings.short_side}")
    promised, doubts = count(seconds, fps=settings.fps), ""
    if promised and abs(number - promised) > TOLERATED:
        doubts = f"the clip has {number} frames, where {moment(seconds)} seconds promise {promised}"
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made = {"out_sha256": digest, "out_frames": number, "out_width": width, "out_height": height, "signature": seen}
    return made, doubts


def _decoded(part: Path, settings: ClipFormat) -> tuple[int, int, int, str]:
    """Decode the whole clip: its frames, width, height, signature. ValueError if one is not H.264, damaged, or not at its place in time."""
    if is_empty(part):
        raise ValueError("no frame could be decoded")
    with opened(part) as container:
        streams = container.streams
        if len(streams) != 1 or not streams.video or streams.video[0].codec_context.name != "h264":
            raise ValueError("the clip does not hold exactly one H.264 stream")
        stream, small = streams.video[0], Small()
        stream.thread_count = 1
        seen: list[Tiles] = []
        try:
            for frame in container.decode(stream):
                if frame.time is None or frame.is_corrupt or abs(frame.time * settings.fps - len(seen)) > 0.01:
                    raise ValueError(f"frame {len(seen)} of the clip is damaged or not at {len(seen)}/{settings.fps} seconds")
                seen.append(small(frame))
        except FFmpegError as error:
            raise ValueError(f"the clip does not decode: {error.strerror}") from error
        return len(seen), stream.width, stream.height, signature(seen) if seen else ""
