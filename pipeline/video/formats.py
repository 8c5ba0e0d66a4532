"""The kinds of file that count as a video: the one list of containers, and pictures, some of which move."""

from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

# A video comes from strangers: it may neither open the network nor be a playlist that opens other files.
PROTOCOLS = "file"
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,asf,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,ogg,ivf,obu,gif,apng,rm,dv,mxf,nut,wtv,mjpeg,"
    "yuv4mpegpipe,mp3,wav,flac,aac"
)
STILLS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# Any text may begin with the two letters of a bitmap: the length of its second header follows, which is one of these.
BITMAP, HEADERS = b"BM", {length.to_bytes(4, "little") for length in (12, 16, 40, 52, 56, 64, 108, 124)}
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"hevc": "HEIF", b"mif1": "HEIF", b"msf1": "HEIF"}
ANIMATED = 0x02  # the flag of a WebP file with more than one picture


def picture(path: Path) -> str:
    """The kind of picture that the first bytes of a file announce, moving or not; "" if none."""
    head = _head(path)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], "")
    if head.startswith(BITMAP) and head[14:18] in HEADERS:
        return "BMP"
    return next((kind for first, kind in STILLS.items() if head.startswith(first)), "")


def still(path: Path) -> ValueError:
    """The error for a picture that does not move."""
    return ValueError(f"{path.name} is a still picture ({picture(path)}), and no video")


def is_animated_webp(path: Path) -> bool:
    """Whether a file is rewritten first (`rewriting`): the library that probes and checks has no reader for it, the transcoder has."""
    head = _head(path)
    return picture(path) == "WebP" and head[12:16] == b"VP8X" and bool(head[20] & ANIMATED)


def untrusted(containers: str, *, strict: bool) -> dict[str, Any]:
    """ffmpeg's options to read a file from strangers that is in one of these containers; `strict`: end at an error."""
    options: dict[str, Any] = {"threads": 1, "protocol_whitelist": PROTOCOLS, "format_whitelist": containers}
    return options | ({"xerror": None, "err_detect": "explode"} if strict else {})


def rewriting(source: Path, film: Path, *, strict: bool) -> list[str]:
    """The arguments that write the pictures of an animated WebP and their times, without loss, to `film`; `strict`: end at an error."""
    writing = {"c:v": "png", "pred": "none", "threads": 1, "fps_mode": "passthrough", "video_track_timescale": 1000}
    made = ffmpeg.input(f"file:{source}", **untrusted("webp_anim", strict=strict)).output(f"file:{film}", format="mov", **writing)
    quiet = made.global_args("-hide_banner", "-nostdin", "-v", "error").overwrite_output()
    arguments: list[str] = quiet.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return arguments


def _head(path: Path) -> bytes:
    """The first 32 bytes of a file; what it lacks of them is zeros."""
    with path.open("rb") as file:
        return file.read(32).ljust(32, b"\0")
