"""ffmpeg's passes over a video: strict first, tolerant if need be; and whether the video, the colours, the disk or we are at fault."""

import errno
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.dataset import ClipFormat
from pipeline.core.files import FULL
from pipeline.video import colour, complaint, shape
from pipeline.video.command import Cut, command
from pipeline.video.formats import is_animated_webp, rewriting
from pipeline.video.probe import Probe, opened

DISK = {os.strerror(number): number for number in FULL}  # as ffmpeg says it


def readable(source: Path, folder: Path, *, timeout: float) -> tuple[Path, str]:
    """`source`, or its pictures in a file of `folder` that every library here reads; "" or what was wrong with it. ValueError if all is."""
    if not is_animated_webp(source):
        return source, ""
    film = folder / source.name
    done, first = _run(rewriting(source, film, strict=True), source=source, part=film, timeout=timeout)
    if done:
        return film, ""
    done, said = _run(rewriting(source, film, strict=False), source=source, part=film, timeout=timeout)
    trouble = first or said or "it is damaged"
    if not done or is_empty(film):
        raise ValueError(f"{source.name} cannot be decoded: {trouble}")
    return film, f"decoding reports an error: {trouble}"


def encode(source: Path, part: Path, *, found: Probe, cut: Cut, settings: ClipFormat, timeout: float) -> str:
    """Write `part`; "" if all went well, else what the decoder complained of, or why the colours were left.

    `timeout`: seconds for each pass. Raises ValueError if no clip could be made, and OSError if it is not the video's fault.
    """
    stream: dict[str, Any] = {"codec": found.codec, "index": found.video_index, "size": (found.width, found.height)}
    colours = colour.step(found.colours, side=settings.short_side, ratio=shape.ratio(found, settings), **stream)
    common: dict[str, Any] = {"index": found.video_index, "settings": settings, "fields": found.fields}
    for step in (colours, colour.untagged(found.colours, **stream)) if colours.filters else (colours,):
        first = ""
        for jump, strict in [(True, True)] * (cut.origin is not None) + [(False, True), (False, False)]:
            way = cut if jump else replace(cut, origin=None)
            arguments = command(source, part, cut=way, strict=strict, colours=step, **common)
            done, said = _run(arguments, source=source, part=part, timeout=timeout)
            if done and strict and not (jump and is_empty(part)):
                return step.reason
            first = first if jump else first or said
        # Told to be strict, a decoder refuses what it knows how to read as well. Missing data it reports both times.
        if done:
            return "; ".join(filter(None, [step.reason, f"decoding reports an error: {first or said}" if said else ""]))
    if not (first or said):
        size = f"{found.width}x{found.height} pixels, {found.pix_fmt or 'of an unknown kind'}"
        raise ValueError(f"the pictures of {source.name} ({size}) could not be made into a clip; another size or kind of them may do")
    raise ValueError(f"{source.name} cannot be decoded: {said or first}")


def is_empty(part: Path) -> bool:
    """Whether ffmpeg, which does not call that an error, wrote no frame."""
    if part.stat().st_size == 0:
        return True
    with opened(part) as container:
        return not container.streams


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
