"""Any video file -> the canonical clip: H.264 at a constant rate, a keyframe each second, no sound, the same bytes each time."""

import errno
import hashlib
import math
import os
import signal
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from av.error import FFmpegError

from pipeline.config.dataset import ClipFormat
from pipeline.core.files import FULL
from pipeline.video import complaint, shape
from pipeline.video.command import Cut, command, count, recipe, version
from pipeline.video.probe import Probe, opened, probe

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
    "has_audio": pa.bool_(),
    "pix_fmt": pa.string(),
    "track": pa.string(),
    "field_order": pa.string(),
    "out_path": pa.string(),
    "out_sha256": pa.string(),
    "out_frames": pa.int64(),
    "out_width": pa.int32(),
    "out_height": pa.int32(),
    "degraded": pa.bool_(),
    "status": pa.string(),
    "reason": pa.string(),
    "ffmpeg": pa.string(),
    "recipe": pa.string(),
}
DISK = {os.strerror(number): number for number in FULL}  # as ffmpeg says it


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

    Time 0 is the first picture. Frame k of the clip is what is on screen at start + k/fps seconds, for all k/fps < end - start.
    A bad file does not raise: its row has the status `missing`, `unreadable`, or `degraded` (a clip is there, but not all of
    the video), and a sentence why. `timeout`: seconds for each of at most three passes.
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
    try:
        found = probe(source)
        row |= {key: value for key, value in asdict(found).items() if key in row} | {"field_order": found.fields.order}
        shape.refuse(found, settings=settings, name=source.name)
        cut, promised, lack = _cut(found, settings=settings, start=start or 0.0, end=end)
        reason = _encode(source, part, found=found, cut=cut, settings=settings, timeout=timeout)
        made, doubts = _checked(part, seconds=promised, settings=settings)
        part.replace(target)
    except ValueError as error:
        return row | {"status": "unreadable", "reason": str(error)}
    finally:
        part.unlink(missing_ok=True)
    reasons = "; ".join(filter(None, [reason, lack, doubts]))
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

    Raises ValueError if it ends before `start`.
    """
    ends = found.length or found.duration
    if 0 < ends <= start:
        raise ValueError(f"the segment starts at {start:g} seconds, and the video ends at {ends:g}")
    stop = min(math.inf if end is None else end, start + (settings.seconds or math.inf))
    doubt = ""
    if found.duration and stop == end and (end - found.duration) * settings.fps > TOLERATED:
        doubt = f"the segment ends at {end:g} seconds, and the video at {found.duration:g}"
    cut = Cut(
        start=start,
        seconds=stop - start if stop < math.inf else 0.0,
        # A clock of milliseconds says 0.667 for 2/3, and one of frames is exact.
        slack=found.tick / 2 if found.tick <= 0.001 else 0.0,
        origin=found.origin if start > JUMP else None,
    )
    return cut, max(min(stop, found.duration) - start, 0.0), doubt


def _encode(source: Path, part: Path, *, found: Probe, cut: Cut, settings: ClipFormat, timeout: float) -> str:
    """Write `part`; "" if all went well, else what the decoder complained of. Raises ValueError if no clip could be made."""
    first = ""
    for jump, strict in [(True, True)] * (cut.origin is not None) + [(False, True), (False, False)]:
        way = cut if jump else replace(cut, origin=None)
        arguments = command(source, part, index=found.video_index, cut=way, settings=settings, strict=strict, fields=found.fields)
        done, said = _run(arguments, source=source, part=part, timeout=timeout)
        if done and strict and not (jump and _is_empty(part)):
            return ""
        first = first if jump else first or said
    # Told to be strict, a decoder refuses what it knows how to read as well. What it lacks, it reports both times.
    if done:
        return f"decoding reports an error: {first or said}" if said else ""
    if not (first or said):
        size = f"{found.width}x{found.height} pixels, {found.pix_fmt or 'of an unknown kind'}"
        raise ValueError(f"the pictures of {source.name} ({size}) could not be made into a clip; another size or kind of them may do")
    raise ValueError(f"{source.name} cannot be decoded: {said or first}")


def _run(arguments: list[str], *, source: Path, part: Path, timeout: float) -> tuple[bool, str]:
    """Whether ffmpeg ended well, and its first complaint about the file, or "".

    ValueError after `timeout` seconds; OSError if it is not the video's fault.
    """
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{source.name} took more than {timeout:g} seconds to decode") from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == -signal.SIGXFSZ:
        said += "File too large"
    for message, number in DISK.items():
        if message in said:
            raise OSError(number, f"{message} while writing a clip; make room and re-run", str(part))
    if done.returncode == -signal.SIGKILL:
        raise OSError(errno.ENOMEM, "ffmpeg was killed, perhaps for want of memory; re-run", str(source))
    crash = f"ffmpeg ended with signal {-done.returncode}" if done.returncode < 0 else ""
    return done.returncode == 0, crash or complaint.of_the_file(said, source)


def _checked(part: Path, *, seconds: float, settings: ClipFormat) -> tuple[dict[str, Any], str]:
    """The columns that describe the clip in `part`, and "" or what it lacks of `seconds`. ValueError if it is no canonical clip."""
    number, width, height = _decoded(part, settings)
    if min(width, height) != settings.short_side:
        raise ValueError(f"the clip came out as {width}x{height} pixels, without a short side of {settings.short_side}")
    promised, doubts = count(seconds, fps=settings.fps), ""
    if promised and abs(number - promised) > TOLERATED:
        doubts = f"the clip has {number} frames, where {seconds:g} seconds promise {promised}"
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"out_sha256": digest, "out_frames": number, "out_width": width, "out_height": height}, doubts


def _decoded(part: Path, settings: ClipFormat) -> tuple[int, int, int]:
    """Decode the whole clip: its frames, width, height. ValueError if one is not H.264, damaged, or not at its place in time."""
    if _is_empty(part):
        raise ValueError("no frame could be decoded")
    with opened(part) as container:
        streams = container.streams
        if len(streams) != 1 or not streams.video or streams.video[0].codec_context.name != "h264":
            raise ValueError("the clip does not hold exactly one H.264 stream")
        stream, number = streams.video[0], 0
        stream.thread_count = 1
        try:
            for frame in container.decode(stream):
                if frame.time is None or frame.is_corrupt or abs(frame.time * settings.fps - number) > 0.01:
                    raise ValueError(f"frame {number} of the clip is damaged or not at {number}/{settings.fps} seconds")
                number += 1
        except FFmpegError as error:
            raise ValueError(f"the clip does not decode: {error.strerror}") from error
        return number, stream.width, stream.height


def _is_empty(part: Path) -> bool:
    """Whether ffmpeg, which does not call that an error, wrote no frame."""
    if part.stat().st_size == 0:
        return True
    with opened(part) as container:
        return not container.streams
