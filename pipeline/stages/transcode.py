"""Rule transcode: the canonical clips of one shard of a dataset's videos, and a report with one row a video."""

import argparse
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import whole
from pipeline.params import Clips, from_json
from pipeline.progress import track
from pipeline.stages import guarded
from pipeline.video.transcode import COLUMNS, transcode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, help="videos.parquet of the dataset")
    parser.add_argument("--raw", type=Path, required=True, help="folder that src_path is relative to")
    parser.add_argument("--shard", type=int, required=True, help="takes the rows whose number modulo --shards is this")
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--settings", required=True, help="Clips as JSON")
    parser.add_argument("--clips", type=Path, required=True, help="folder to make, with one clip a video")
    parser.add_argument("--report", type=Path, required=True, help="parquet to write")
    args = parser.parse_args()
    settings = from_json(Clips, args.settings, where="--settings")
    if not 0 <= args.shard < args.shards:
        raise ValueError(f"there is no shard {args.shard} of {args.shards}; the first one is 0")
    table = pd.read_parquet(args.videos, columns=["video_id", "src_path"]).iloc[args.shard :: args.shards]
    videos = list(zip(table["video_id"].tolist(), table["src_path"].tolist(), strict=True))
    _refuse_unsafe(videos, args.videos)
    part = args.clips.with_name(args.clips.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        rows = [_row(video, args, part=part, settings=settings) for video in track(videos, total=len(videos), label="transcode")]
        if args.clips.exists():
            shutil.rmtree(args.clips)
        part.replace(args.clips)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _write(rows, args.report)


def _row(video: tuple[str, str], args: argparse.Namespace, *, part: Path, settings: Clips) -> dict[str, Any]:
    """Transcode one (video_id, src_path) into the folder `part`; its row of the report."""
    video_id, src_path = video
    row = transcode(args.raw / src_path, part / f"{video_id}.mp4", settings=settings)
    made = row["status"] in ("ok", "degraded")
    return row | {"video_id": video_id, "out_path": f"{args.clips.name}/{video_id}.mp4" if made else ""}


def _refuse_unsafe(videos: list[tuple[str, str]], table: Path) -> None:
    """A name out of a publisher's list must not reach out of its folder. Raises ValueError."""
    seen: set[str] = set()
    for video_id, src_path in videos:
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
