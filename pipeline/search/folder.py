"""The gallery of a folder: its video files, by their content, as canonical clips.

A clip and what became of it lie in `indexes/<gallery>/clips` under a key of the file's SHA-256 and the recipe: a file that was moved, or is
there twice, is transcoded once, and a build that was killed goes on with what it has.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.dataset import ClipFormat
from pipeline.core import record
from pipeline.core.files import read_json, write_json
from pipeline.core.progress import track
from pipeline.datasets.annotations.matching import BESIDE, PICTURES
from pipeline.search import contents
from pipeline.search.contents import Found
from pipeline.search.index import CLIPS
from pipeline.video.command import recipe
from pipeline.video.transcode import transcode

NO_VIDEOS = BESIDE - {*PICTURES}  # endings of files that are no video
MAKING = ".making-"  # folders of clips in the making


@dataclass(frozen=True)
class Files:
    """Files of a folder: `paths` of video files below it, their `names` as shown, their `sha256`; `skipped` with the reasons."""

    folder: Path
    paths: list[Path]
    names: list[str]
    sha256: list[str]
    skipped: list[dict[str, str]]


def read(folder: Path, *, without: Path) -> Files:
    """Find the video files of a folder and hash their content; nothing below `without`, the indexes. ValueError if there is no folder."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    skipped: list[dict[str, str]] = []
    paths = sorted(_walk(folder, without.resolve(), skipped), key=lambda path: os.fsencode(path))
    files, taken = Files(folder, [], [], [], skipped), set[str]()
    for path in track(paths, total=len(paths), label="read files"):
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                raise ValueError("it is no regular file")
            digest = record.sha256(path)
        except (OSError, ValueError) as error:
            skipped.append({"file": shown(path, folder), "reason": getattr(error, "strerror", None) or str(error)})
            continue
        files.paths.append(path)
        files.names.append(_unique(shown(path, folder), taken))
        files.sha256.append(digest)
    return files


def _unique(name: str, taken: set[str]) -> str:
    """Escaped bytes may look like another file's letters."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def shown(path: Path, folder: Path) -> str:
    """The path below the folder as text; bytes that are none are written as \\x.."""
    return _plain(str(path.relative_to(folder)))


def _plain(text: str) -> str:
    return os.fsencode(text).decode(errors="backslashreplace")


def _walk(folder: Path, without: Path, skipped: list[dict[str, str]]) -> Iterator[Path]:
    """Files that may be videos by their names; of pictures only the content says whether they move. Links to folders are not followed."""

    def unread(error: OSError) -> None:
        skipped.append({"file": shown(Path(error.filename), folder), "reason": error.strerror or str(error)})

    for place, folders, names in os.walk(folder, onerror=unread):
        for name in list(folders):
            path = Path(place, name)
            if name.startswith(".") or path.resolve() == without:
                folders.remove(name)
            elif path.is_symlink():
                skipped.append({"file": shown(path, folder), "reason": "it is a link to a folder; index that folder itself"})
        for name in names:
            if not name.startswith(".") and PurePosixPath(name).suffix[1:].lower() not in NO_VIDEOS:
                yield Path(place, name)


def find(files: Files, *, home: Path, gallery: Path, settings: ClipFormat, texts: Sequence[str] | None) -> Found:
    """Make the clips that are not there yet, and list all. ValueError if no file is a video. Callers hold the gallery's lock."""
    clips = gallery / CLIPS
    clips.mkdir(parents=True, exist_ok=True)
    for left in clips.glob(f"{MAKING}*"):
        shutil.rmtree(left, ignore_errors=True)
    content = dict(zip(reversed(files.sha256), reversed(files.paths), strict=True))  # the first of equal files
    rows, source = _clips(content, clips, settings), contents.below(files.folder, home)
    videos: list[dict[str, object]] = []
    skipped, degraded = list(files.skipped), []
    for name, digest in zip(files.names, files.sha256, strict=True):
        row = rows[digest]
        if row["status"] not in ("ok", "degraded"):
            skipped.append({"file": name, "reason": row["reason"], "clip": key(digest, settings)})
            continue
        if row["status"] == "degraded":
            degraded.append({"file": name, "reason": row["reason"]})
        videos.append(_video(f"{source}/{name}", name, digest, row, settings=settings))
    if not videos:
        raise ValueError(f"{files.folder} holds no video that can be read" + _first(skipped))
    captions = [{"caption_id": str(line), "text": text, "row": -1} for line, text in enumerate(texts or (), start=1)]
    root = clips.relative_to(home).as_posix()
    said = None if texts is None else contents.captions(captions)
    return Found("folder", source, home, root, float(settings.fps), contents.videos(videos), said, skipped, degraded)


def _first(skipped: list[dict[str, str]]) -> str:
    return f" ({len(skipped)} files were skipped; {skipped[0]['file']!r}: {skipped[0]['reason']})" if skipped else ""


def key(sha256: str, settings: ClipFormat) -> str:
    """The name of a clip: equal where file and recipe are."""
    return hashlib.sha256(f"{sha256} {recipe(settings)}".encode()).hexdigest()[:32]


def _video(source: str, name: str, digest: str, row: dict[str, Any], *, settings: ClipFormat) -> dict[str, object]:
    return {
        "video_id": name,
        "clip": f"{key(digest, settings)}.mp4",
        "clip_sha256": row["out_sha256"],
        "source": source,
        "src_sha256": digest,
        "start": row["out_start"],
        "duration": row["out_frames"] / settings.fps,
        "title": "",
    }


def _clips(content: dict[str, Path], clips: Path, settings: ClipFormat) -> dict[str, dict[str, Any]]:
    """SHA-256 of a file -> what transcoding it gave, now or before."""
    rows = {digest: _known(clips / key(digest, settings)) for digest in content}
    wanted = [digest for digest, row in rows.items() if row is None]
    with tempfile.TemporaryDirectory(dir=clips, prefix=MAKING) as making, ThreadPoolExecutor(os.cpu_count()) as pool:

        def make(digest: str) -> dict[str, Any]:
            return _make(content[digest], digest, Path(making), clips / key(digest, settings), settings)

        made = track(pool.map(make, wanted), total=len(wanted), label="transcode")
        rows |= dict(zip(wanted, made, strict=True))
    return {digest: row for digest, row in rows.items() if row is not None}


def _known(clip: Path) -> dict[str, Any] | None:
    """The row that an earlier run noted for a file; None without one, or if its clip is gone."""
    note, made = clip.with_suffix(".json"), clip.with_suffix(".mp4")
    if not note.is_file():
        return None
    row: dict[str, Any] = read_json(note)
    if row["status"] == "unreadable":
        return row
    if "out_start" not in row:  # of a version that took the first picture for the start of the clock
        return None
    return row if made.is_file() and made.stat().st_size == row["out_bytes"] else None


def _make(source: Path, digest: str, making: Path, clip: Path, settings: ClipFormat) -> dict[str, Any]:
    # In a folder of this process: an ffmpeg that outlived a killed one must not write into what is made now.
    part = making / f"{clip.name}.mp4"
    seen = _named(source, making / f"{clip.name}.source")
    row = transcode(seen, part, settings=settings)
    row["reason"] = row["reason"].replace(seen.name, "the file")  # which may be there under other names, too
    if row["src_sha256"] != digest:
        return row | {"status": "missing", "reason": row["reason"] or "it changed while it was read; index again"}
    note = {name: row[name] for name in ("status", "reason", "src_sha256", "out_sha256", "out_start", "out_frames")} | {"out_bytes": 0}
    if part.exists():
        note["out_bytes"] = part.stat().st_size
        part.replace(clip.with_suffix(".mp4"))
    write_json(clip.with_suffix(".json"), note)
    return note


def _named(source: Path, link: Path) -> Path:
    """The file under a name that is text, which the decoder wants."""
    try:
        str(source).encode()
    except UnicodeEncodeError:
        link.symlink_to(source.absolute())
        return link
    return source


def tidy(gallery: Path, *, used: set[str]) -> None:
    """Remove the clips whose keys are not among `used`."""
    for file in (gallery / CLIPS).iterdir():
        if file.is_file() and file.stem not in used:
            file.unlink()
