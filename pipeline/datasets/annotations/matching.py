"""Which file is which video. Nothing is dropped: what has no file stays a row, and what fits two files is an error."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline.datasets.annotations.rows import listed

TEXTS = ("txt", "json", "jsonl", "csv", "tsv", "xml", "html", "md", "log", "nfo", "ini", "yaml", "pdf", "url", "description")
SUBTITLES = ("srt", "vtt", "ass", "ssa", "sub", "idx", "sbv", "lrc", "ttml", "srv1", "srv2", "srv3", "json3")
# Beside a video of a benchmark these are its previews; elsewhere only the content says whether one moves.
MOVING = ("gif", "webp", "png", "apng", "avif", "heic", "heif")  # or may
PICTURES = (*MOVING, "jpg", "jpeg", "bmp", "tif", "tiff")
SOUNDS = ("wav", "mp3", "m4a", "aac", "flac", "opus")
PARTS = ("part", "ytdl", "crdownload", "aria2", "torrent", "tmp", "bak", "md5", "sha256")
OTHERS = ("thm", "aae", "db", "npy", "npz", "pkl", "zip", "tar", "gz", "7z", "rar", "xlsx")
BESIDE = frozenset((*TEXTS, *SUBTITLES, *PICTURES, *SOUNDS, *PARTS, *OTHERS))  # endings of what lies beside videos
# At least one letter: the times in a name of LSMDC are not endings.
ENDING = re.compile(r"\.(?=[0-9]*[A-Za-z])[0-9A-Za-z]{2,5}$")


def stem(name: str) -> str:
    """A file's name without the ending, whatever it is."""
    return ENDING.sub("", name)


def match(videos: pd.DataFrame, folder: Path, *, root: Path, file_key: Callable[[str], str], name: str) -> pd.DataFrame:
    """The table with `src_path`, relative to `root`, of each video that has a file below `folder`.

    A file belongs to the video whose official name has the same `file_key`. Raises ValueError for a folder in which nothing fits, and for
    two files of one video, unless one of them has the official name or that and `.mp4`.
    """
    files: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if is_video(path)):
        files.setdefault(file_key(path.name), []).append(path)
    keys = {file_key(official): official for official in videos["official_name"]}
    if files and not keys.keys() & files.keys():
        some, wanted = next(iter(files.values()))[0].name, next(iter(keys.values()))
        raise ValueError(
            f"{name}: no file below {folder} belongs to the dataset: there is {some!r}, and {wanted!r} or the like is expected"
        )
    strangers = sorted(path.name for key, found in files.items() if key not in keys for path in found)
    if strangers:
        print(f"{name}: {len(strangers)} files below {folder} belong to no video: {listed(strangers[:3])}")
    chosen = [_one(files.get(file_key(official), []), official, name) for official in videos["official_name"]]
    return videos.assign(src_path=[str(path.relative_to(root)) if path else "" for path in chosen])


def _one(found: list[Path], official: str, name: str) -> Path | None:
    for exact in (official, f"{official}.mp4"):
        same = [path for path in found if path.name == exact]
        if len(same) == 1:
            return same[0]
    if len(found) > 1:
        raise ValueError(f"{name}: {official} has {len(found)} files, {', '.join(map(str, found[:3]))}; keep one of them")
    return found[0] if found else None


def is_video(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix[1:].lower() not in BESIDE
