"""The gallery of a dataset's split: the clips that evaluation ranks, and their captions."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from pipeline.core import layout, record
from pipeline.core.progress import track
from pipeline.search import contents
from pipeline.search.contents import Found
from pipeline.video.sample import num_frames_and_rate

COLUMNS = ["video_id", "src_path", "src_sha256", "out_start", "out_path", "out_sha256", "out_frames", "degraded", "reason"]


def find(name: str, split: str, *, home: Path, raw: str) -> Found:
    """Read the tables of a split and compare its clips with them. `raw`: folder of the video files, as shown to the user.

    ValueError if a table or a clip is not there, or a clip is not the one of the table.
    """
    tables = [home / layout.split(name, split) / f"{kind}.parquet" for kind in ("videos", "captions")]
    for table in tables:
        if not table.is_file():
            raise ValueError(f"there is no {table}; make it with snakemake --cores all {layout.split(name, split)}/{table.name}")
    if "out_start" not in pq.read_schema(tables[0]).names:
        again = f"snakemake --cores all {layout.split(name, split)}/{tables[0].name}"
        raise ValueError(f"{tables[0]} was made by an earlier version; make it again with {again}")
    videos, captions = pd.read_parquet(tables[0], columns=COLUMNS), pd.read_parquet(tables[1], columns=["video_id", "caption_id", "text"])
    root = layout.clips(name)
    for row in track(range(len(videos)), total=len(videos), label="check clips"):
        _refuse_other(home / root / videos["out_path"][row], videos["out_sha256"][row], tables[0])
    place = {video: row for row, video in enumerate(videos["video_id"])}
    titles = captions.drop_duplicates("video_id").set_index("video_id")["text"]
    _, fps = num_frames_and_rate(home / root / videos["out_path"][0])
    rows = [_row(video, raw=raw, root=root, fps=fps, title=str(titles.get(video["video_id"], ""))) for video in videos.to_dict("records")]
    said = [
        {"caption_id": caption["caption_id"], "text": caption["text"], "row": place[caption["video_id"]]}
        for caption in captions.to_dict("records")
        if caption["video_id"] in place  # a reversed video is nothing that one could open
    ]
    degraded = [{"file": row["video_id"], "reason": row["reason"]} for row in videos[videos["degraded"]].to_dict("records")]
    return Found("dataset", f"{name}/{split}", home, root, fps, contents.videos(rows), contents.captions(said), degraded=degraded)


def _row(video: dict[str, Any], *, raw: str, root: str, fps: float, title: str) -> dict[str, object]:
    return {
        "video_id": video["video_id"],
        "clip": video["out_path"],
        "clip_sha256": video["out_sha256"],
        "source": f"{raw}/{video['src_path']}" if video["src_path"] else f"{root}/{video['out_path']}",
        "src_sha256": video["src_sha256"],
        "start": float(video["out_start"]),
        "duration": video["out_frames"] / fps,
        "title": title,
    }


def _refuse_other(clip: Path, sha256: str, table: Path) -> None:
    if not clip.is_file():
        raise ValueError(f"there is no {clip}, which {table} lists; re-run rule transcode")
    if record.sha256(clip) != sha256:
        raise ValueError(f"{clip} is not the clip that {table} lists; delete it and re-run rule transcode")
