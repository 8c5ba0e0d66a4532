"""Transcode one shard of a dataset's videos to canonical clips, with a report of one row a video.

A shard that was stopped goes on after its last clip, and what a finished one made of the same files is not made again: a corrected caption
does not cost hours. Videos without a file are fetched one by one and deleted after their clip is made.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.dataset import ClipFormat, Clips
from pipeline.config.settings import read
from pipeline.core.code import sources
from pipeline.core.files import whole
from pipeline.core.progress import track
from pipeline.core.record import sha256
from pipeline.datasets.annotations.matching import ENDING
from pipeline.datasets.annotations.sources import login
from pipeline.datasets.fetch import http, youtube
from pipeline.stages import add_settings, guarded
from pipeline.video.transcode import COLUMNS, blank, transcode

JOURNAL = "journal.jsonl"
READ = ("video_id", "src_path", "fetch_url", "start", "end", "excluded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--videos", type=Path, required=True, help="videos.parquet of the dataset")
    parser.add_argument("--raw", type=Path, required=True, help="folder that src_path is relative to")
    parser.add_argument("--shard", type=int, required=True, help="takes the rows from this number times settings.shard on")
    add_settings(parser, Clips)
    parser.add_argument("--clips", type=Path, required=True, help="folder to make, with one clip a video")
    parser.add_argument("--report", type=Path, required=True, help="parquet to write")
    parser.add_argument("--kept", type=Path, required=True, help="folder of links to the clips, for the next time")
    args = parser.parse_args()
    settings = read(Clips, args.settings)
    if args.shard < 0:
        raise ValueError(f"there is no shard {args.shard}; the first one is 0")
    # A block, so that a video that is added at the end leaves the shards before it as they are.
    table = pd.read_parquet(args.videos, columns=list(READ)).iloc[args.shard * settings.shard : (args.shard + 1) * settings.shard]
    videos: list[dict[str, Any]] = table.to_dict("records")
    _refuse_unsafe(videos, args.videos)
    part = args.clips.with_name(args.clips.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    rows = _rows(videos, args, part=part, settings=settings)
    _keep(part, args.kept)
    (part / JOURNAL).unlink()
    if args.clips.exists():
        shutil.rmtree(args.clips)
    part.replace(args.clips)
    _write(rows, args.report)


def _rows(videos: list[dict[str, Any]], args: argparse.Namespace, *, part: Path, settings: ClipFormat) -> list[dict[str, Any]]:
    """A row of the report for each video; what a journal has already is not done again."""
    done = _journal(args.kept) | _journal(part)
    timeless = {_timeless(key): row for key, row in done.items()}
    # Once for all videos: writing down the arguments of ffmpeg takes 4 ms.
    rows, nothing, code = [], blank(settings), _code()
    with (part / JOURNAL).open("w", encoding="utf-8") as file:
        for video in track(videos, total=len(videos), label="transcode"):
            key = _identity(video, args.raw, nothing["recipe"], code)
            row = done.get(key) or _same(timeless.get(_timeless(key)), args.raw / video["src_path"])
            if row is None or not _taken(row, video["video_id"], kept=args.kept, part=part):
                row = _row(video, args, part=part, settings=settings, nothing=nothing)
            rows.append(row)
            file.write(json.dumps([key, row]) + "\n")
            file.flush()
    return rows


def _journal(folder: Path) -> dict[str, dict[str, Any]]:
    """Identity -> row of what was done; a last line that was cut off is none."""
    file = folder / JOURNAL
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    return dict(json.loads(line) for line in lines if line.endswith("\n"))


def _taken(row: dict[str, Any], video_id: str, *, kept: Path, part: Path) -> bool:
    """Whether the clip that `row` tells of is in `part`, or could be linked to it."""
    clip = f"{video_id}.mp4"
    if not (part / clip).is_file() and (kept / clip).is_file():
        os.link(kept / clip, part / clip)
    # A video that is missing may be there the next time.
    return bool(row["out_path"]) and (part / clip).is_file()


def _keep(part: Path, kept: Path) -> None:
    """Links to all files of `part` in `kept`, which take no room; without them the next run starts anew."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    try:
        for file in part.iterdir():
            os.link(file, kept / file.name)
    except OSError:  # a file system without links
        shutil.rmtree(kept)


def _code() -> str:
    """Changes when the code that makes clips does."""
    code = [Path(path).read_bytes() for path in sources("pipeline.video.transcode")]
    return hashlib.sha256(b"".join(code)).hexdigest()[:16]


def _identity(video: dict[str, Any], raw: Path, recipe: str, code: str) -> str:
    """Equal where the clip would be equal."""
    source = raw / video["src_path"]
    state = (source.stat().st_size, source.stat().st_mtime_ns) if video["src_path"] and source.is_file() else ()
    return json.dumps([code, recipe, *(str(video[key]) for key in READ), *state])


def _timeless(key: str) -> str:
    """An identity without the time of the file."""
    return json.dumps(json.loads(key)[:-1])


def _same(row: dict[str, Any] | None, source: Path) -> dict[str, Any] | None:
    """The row, if it tells of the bytes of `source`: a purge that touches, or a copy, gives the same file a new time."""
    return row if row and source.is_file() and row["src_sha256"] == sha256(source) else None


def _row(video: dict[str, Any], args: argparse.Namespace, *, part: Path, settings: ClipFormat, nothing: dict[str, Any]) -> dict[str, Any]:
    """Transcode one video into the folder `part`; its row of the report, or `nothing` and why."""
    video_id, target = video["video_id"], part / f"{video['video_id']}.mp4"
    start, end = (None if math.isnan(video[key]) else float(video[key]) for key in ("start", "end"))
    originals = part / ".original"
    try:
        if video["excluded"]:
            row = nothing | {"status": "excluded", "reason": video["excluded"]}
        elif video["src_path"] or not video["fetch_url"]:
            row = transcode(args.raw / (video["src_path"] or video_id), target, settings=settings, start=start, end=end)
        else:
            row = transcode(_fetched(video["fetch_url"], originals, args.dataset), target, settings=settings, start=start, end=end)
    except http.Gone as error:
        row = nothing | {"status": "missing", "reason": str(error)}
    finally:
        shutil.rmtree(originals, ignore_errors=True)
    made = row["status"] in ("ok", "degraded")
    return row | {"video_id": video_id, "out_path": f"{args.clips.name}/{video_id}.mp4" if made else ""}


def _fetched(url: str, folder: Path, dataset: str) -> Path:
    """The file of one video. Raises http.Gone if it is no longer there, ValueError if it could not be reached: then a later run goes on."""
    folder.mkdir(exist_ok=True)
    name = PurePosixPath(urlsplit(url).path).name
    if not ENDING.search(name):
        return youtube.fetch_page_video(url, folder, name="original")
    target = folder / f"original{PurePosixPath(name).suffix}"
    http.fetch(url, target, kind="video", login=login(dataset))
    return target


def _refuse_unsafe(videos: list[dict[str, Any]], table: Path) -> None:
    """A name out of a publisher's list must not reach out of its folder. Raises ValueError."""
    seen: set[str] = set()
    for video in videos:
        video_id, src_path = video["video_id"], video["src_path"]
        # By name only: the files of a DVC workspace may be links into its cache.
        if PurePosixPath(src_path).is_absolute() or ".." in PurePosixPath(src_path).parts:
            raise ValueError(f"{table}: src_path {src_path!r} of video {video_id!r} leaves the folder of raw files")
        if not video_id or "/" in video_id or "\0" in video_id:
            raise ValueError(f"{table}: video_id {video_id!r} cannot be the name of a file")
        if video_id in seen:
            raise ValueError(f"{table}: video_id {video_id!r} is there twice")
        seen.add(video_id)


def _write(rows: list[dict[str, Any]], report: Path) -> None:
    with whole(report) as part:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(COLUMNS.items()))), part)


if __name__ == "__main__":
    guarded(main)
