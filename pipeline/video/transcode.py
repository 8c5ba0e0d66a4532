"""Any video file -> the canonical clip: H.264 at a constant rate, a keyframe each second, no sound, the same bytes each time."""

import errno
import functools
import hashlib
import json
import math
import re
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg
import pyarrow as pa
from av.error import FFmpegError

from pipeline.params import Clips
from pipeline.video.probe import CONTAINERS, PROTOCOLS, Probe, opened, probe

TIMEOUT = 600.0  # seconds a pass
TOLERATED = 2  # frames more or fewer than the duration promises
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
DISK = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT, "File too large": errno.EFBIG}


def transcode(source: Path, target: Path, *, settings: Clips, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Write the canonical clip of `source` to `target`; the row that says what went in and what came out.

    A bad file does not raise: its row has the status `missing`, `unreadable`, or `degraded` (a clip is there, but not all of
    the video), and a sentence why. `timeout`: seconds for each of at most two passes.
    Raises OSError if the disk, not the video, is at fault, and ValueError for settings that no video can satisfy.
    """
    if settings.short_side < 2 or settings.short_side % 2 or settings.fps < 1:
        raise ValueError(f"clips: H.264 needs an even short_side and fps >= 1, not {settings.short_side} and {settings.fps}")
    row = _blank(settings)
    if not source.is_file():
        return row | {"status": "missing", "reason": "there is no such file"}
    with source.open("rb") as file:
        row |= {"src_bytes": source.stat().st_size, "src_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    part = target.with_name(target.name + ".part")
    part.touch()  # a folder that cannot be written to is not the video's fault
    try:
        found = probe(source)
        row |= {key: value for key, value in asdict(found).items() if key in row}
        reason = _encode(source, part, found=found, settings=settings, timeout=timeout)
        made, doubts = _checked(part, found=found, settings=settings)
        part.replace(target)
    except ValueError as error:
        return row | {"status": "unreadable", "reason": str(error)}
    finally:
        part.unlink(missing_ok=True)
    reasons = "; ".join(filter(None, [reason, doubts]))
    return row | made | {"degraded": bool(reasons), "status": "degraded" if reasons else "ok", "reason": reasons}


def recipe(settings: Clips) -> str:
    """Twelve hex digits that change with the arguments or the version of ffmpeg."""
    arguments = _command(Path("in"), Path("out"), index=0, settings=settings, strict=True)[1:]
    return hashlib.sha256(json.dumps([version(), *arguments]).encode()).hexdigest()[:12]


@functools.cache
def version() -> str:
    """The version of the ffmpeg binary."""
    return str(imageio_ffmpeg.get_ffmpeg_version())


def _blank(settings: Clips) -> dict[str, Any]:
    """A row about a file that nothing is known of."""
    empty = {name: "" if kind == pa.string() else None for name, kind in COLUMNS.items() if name not in ("video_id", "out_path")}
    return empty | {"degraded": False, "ffmpeg": version(), "recipe": recipe(settings)}


def _command(source: Path, part: Path, *, index: int, settings: Clips, strict: bool) -> list[str]:
    """The arguments of ffmpeg. `index`: which of the video streams."""
    side = settings.short_side
    errors = {"xerror": None, "err_detect": "explode"} if strict else {}
    # "file:", so that a name may begin with a dash or hold a colon.
    # One filter graph to the end: a new one, where a stream changes its size, would start its clock again.
    reading = {"threads": 1, "reinit_filter": 0, "protocol_whitelist": PROTOCOLS, "format_whitelist": CONTAINERS}
    picture = ffmpeg.input(f"file:{source}", **reading, **errors)[f"v:{index}"]
    # Some videos start later than their sound; a clip starts at 0, and frame k is what is shown at k/fps seconds.
    picture = picture.filter("setpts", "PTS-STARTPTS").filter("fps", settings.fps, round="up")
    width, height = f"if(gte(iw,ih),-2,{side})", f"if(gte(iw,ih),{side},-2)"
    picture = picture.filter("scale", width, height, flags="bicubic+accurate_rnd").filter("setsar", 1).filter("format", "yuv420p")
    # One thread, and no version or date in the file: equal input gives equal bytes.
    writing: dict[str, Any] = {"c:v": "libx264", "preset": "medium", "crf": settings.crf, "threads": 1}
    writing |= {"g": settings.fps, "keyint_min": 1, "sc_threshold": 0, "bf": 0, "fps_mode": "passthrough"}
    writing |= {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "movflags": "+faststart"}
    clip = ffmpeg.output(picture, f"file:{part}", format="mp4", **writing)
    quiet = ("-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1")
    command: list[str] = clip.global_args(*quiet).overwrite_output().compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


def _encode(source: Path, part: Path, *, found: Probe, settings: Clips, timeout: float) -> str:
    """Write `part`; "" if all went well, else why only a tolerant second pass did. Raises ValueError if that fails, too."""
    trouble = ""
    for strict in (True, False):
        command = _command(source, part, index=found.video_index, settings=settings, strict=strict)
        failure = _run(command, source=source, part=part, timeout=timeout)
        if not failure:
            return trouble
        trouble = f"decoding reports an error: {failure}"
    raise ValueError(f"{source.name} cannot be decoded: {failure}")


def _run(command: list[str], *, source: Path, part: Path, timeout: float) -> str:
    """Run ffmpeg; "" or its first complaint. ValueError after `timeout` seconds; OSError if it is not the video's fault."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{source.name} took more than {timeout:g} seconds to decode") from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == -signal.SIGXFSZ:
        said += "File too large"
    for message, number in DISK.items():
        if message in said:
            raise OSError(number, f"{message} while writing a clip; make room and re-run", str(part))
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGKILL:
        raise OSError(errno.ENOMEM, "ffmpeg was killed, perhaps for want of memory; re-run", str(source))
    return _complaint(said, source) or f"ffmpeg ended with code {done.returncode}"


def _complaint(said: str, source: Path) -> str:
    """The first line of ffmpeg's errors, without what changes from run to run: addresses and folders."""
    lines = [re.sub(r"\[([^\]@]*) @ 0x[0-9a-f]+\]", r"\1:", line).strip() for line in said.splitlines()]
    first = next(filter(None, lines), "")
    return first.replace(f"file:{source}", source.name).rstrip(".")[:200]


def _checked(part: Path, *, found: Probe, settings: Clips) -> tuple[dict[str, Any], str]:
    """The columns that describe the clip in `part`, and "" or what it lacks. ValueError if it is no canonical clip."""
    number, width, height = _decoded(part, settings)
    if min(width, height) != settings.short_side:
        raise ValueError(f"the clip came out as {width}x{height} pixels, without a short side of {settings.short_side}")
    promised = math.ceil(round(settings.fps * found.duration, 6))
    doubts = ""
    if abs(number - promised) > TOLERATED:
        doubts = f"the clip has {number} frames, where {found.duration:g} seconds promise {promised}"
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"out_sha256": digest, "out_frames": number, "out_width": width, "out_height": height}, doubts


def _decoded(part: Path, settings: Clips) -> tuple[int, int, int]:
    """Decode the whole clip: its frames, width, height. ValueError if one is not H.264, damaged, or not at its place in time."""
    if part.stat().st_size == 0:
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
        if number == 0:
            raise ValueError("no frame could be decoded")
        return number, stream.width, stream.height
