"""Video files as they come -> the frames that a method sees, on the way of the pipeline: canonical clip, grid, squares."""

import tempfile
from pathlib import Path

from pipeline.config.dataset import ClipFormat, Frames
from pipeline.video.sample import Pictures, sampled
from pipeline.video.transcode import transcode


def read_video(source: Path, *, clips: ClipFormat, frames: Frames) -> tuple[Pictures, list[bool], str]:
    """The frames (T, 3, S, S) of a video file, zeros for padding, their mask, and "" or what the file lacks (it is damaged, or cut off).

    Equal to the bit to what rules transcode and frames make of the file. ValueError if there is no such file or it cannot be decoded.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        row = transcode(source, clip, settings=clips)
        if row["status"] in ("missing", "unreadable"):
            raise ValueError(f"{source}: {row['reason']}")
        pictures, _, mask = sampled(clip, frames)
    return pictures, mask, str(row["reason"])
