"""Cost of a clip against only decoding its video, and of its frames against CLIP4Clip's way: `python -m benchmarks.video`.

Six synthetic videos (H.264, 30 frames a second, a keyframe each 250 frames, sound) are made first. Throughput: all of them, `--processes`
at a time, through `transcode` and through `ffmpeg -f null -` with one thread each; then, one by one, where `transcode` spends its time.
Access: 12 normalised frames of 30 seconds, as pipeline/video/sample.py reads them from the canonical clip, and as CLIP4Clip's loader
(arXiv:2104.08860) does from a 3-fps file of its own making: jump to each second with OpenCV, preprocess all of its frames, choose 12.
Two ways in between say how much of the difference is choosing first. The ways take turns, files are in the page cache, and a number is
the median of `--repeats`, for the access of ten times as many. Nothing else should run.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.dataset import Clips
from pipeline.core.files import write_json
from pipeline.stages import guarded
from pipeline.video import transcode as canonical
from pipeline.video.grid import pick
from pipeline.video.sample import num_frames_and_rate, read_frames, square

NUMBER, SIZE = 12, 224
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
# Something that moves everywhere and something that stands still in parts, both with the noise of a camera.
SCENES = {
    "zoom": "mandelbrot=s=320x240:r=30:end_pts=900,scale={size}:flags=bicubic,noise=alls=6:allf=t",
    "chart": "testsrc2=s={size}:r=30,noise=alls=6:allf=t",
}
SOURCES = [("320x240", "zoom", 30), ("320x240", "chart", 30), ("640x480", "zoom", 20), ("640x480", "chart", 20)]
SOURCES += [("1280x720", "zoom", 10), ("1280x720", "chart", 10)]
PARTS = {"probe": "read the packets", "encode": "run ffmpeg", "_checked": "decode and hash the clip"}
# 224 pixels high and even in width; a portrait video, of which there is none here, would lose its shape.
PAPERS_SCALE = "scale='if(gt(a,1),2*trunc(oh*a/2),224)':'if(gt(a,1),224,2*trunc(ow*a/2))'"


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        videos = [_source(Path(folder), *source) for source in SOURCES]
        results = {"all videos": throughput(videos, args)}
        for size in dict.fromkeys(size for size, _, _ in SOURCES):
            results[f"those of {size}"] = throughput([video for video in videos if size in video.name], args)
        results |= {"one by one": parts(videos), f"{NUMBER} frames": access(videos[0], args)}
    for title, rows in results.items():
        _table(title, rows)
    if args.json:
        write_json(args.json, {"processes": args.processes, "repeats": args.repeats, "seconds": results})


def _source(folder: Path, size: str, scene: str, seconds: int) -> Path:
    path = folder / f"{scene}-{size}.mp4"
    picture = ("-f", "lavfi", "-i", SCENES[scene].format(size=size), "-f", "lavfi", "-i", "sine")
    coding = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "28", "-g", "250", "-pix_fmt", "yuv420p", "-c:a", "aac")
    _ffmpeg(*picture, "-t", str(seconds), *coding, str(path))
    return path


def throughput(videos: list[Path], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds for all videos, `--processes` at a time: {"decode", "transcode"}, a value a repeat."""
    seconds: dict[str, list[float]] = {"decode": [], "transcode": []}
    with ThreadPoolExecutor(args.processes) as threads, ProcessPoolExecutor(args.processes) as processes:
        # The workers import before the clock starts, as a shard's process does once for 200 videos.
        list(processes.map(_transcode, videos[:2]))
        for repeat in range(args.repeats):
            ways: list[tuple[str, Callable[[], Any]]] = [
                ("decode", lambda: list(threads.map(_decode, videos))),
                ("transcode", lambda: list(processes.map(_transcode, videos))),
            ]
            for name, way in ways[:: -1 if repeat % 2 else 1]:
                seconds[name].append(_timed(way))
    return seconds


def parts(videos: list[Path]) -> dict[str, list[float]]:
    """Seconds of one `transcode` after another, as a whole and of its parts, each a list of one value."""
    spent = dict.fromkeys(PARTS, 0.0)
    with _clocks(spent):
        whole = _timed(lambda: list(map(_transcode, videos)))
    named = {PARTS[name]: [seconds] for name, seconds in spent.items()}
    return {"whole": [whole], **named, "hash the video and the rest": [whole - sum(spent.values())]}


@contextmanager
def _clocks(spent: dict[str, float]) -> Iterator[None]:
    """Add to `spent` the seconds of each function of pipeline/video/transcode.py that it names."""
    originals = {name: getattr(canonical, name) for name in spent}

    def clocked(name: str, *given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return originals[name](*given, **named)
        finally:
            spent[name] += time.perf_counter() - start

    for name in spent:
        setattr(canonical, name, partial(clocked, name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(canonical, name, original)


def access(video: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds for 12 frames of one clip in each way, a value a repeat."""
    clip, papers = video.with_suffix(".clip.mp4"), video.with_suffix(".papers.mp4")
    canonical.transcode(video, clip, settings=Clips())
    _ffmpeg("-i", str(video), "-filter:v", PAPERS_SCALE, "-map", "0:v", "-r", "3", str(papers))
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "OpenCV, each second": lambda: by_seconds(papers, choose_first=False),
        "OpenCV, chosen seconds": lambda: by_seconds(papers, choose_first=True),
        "ours, each second": lambda: ours(clip, choose_first=False),
        "ours": lambda: ours(clip, choose_first=True),
    }
    shapes = {name: tuple(way().shape) for name, way in ways.items()}
    assert set(shapes.values()) == {(NUMBER, 3, SIZE, SIZE)}, shapes
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(10 * args.repeats):
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            seconds[name].append(_timed(ways[name]))
    return seconds


def ours(clip: Path, *, choose_first: bool) -> torch.Tensor:
    """Choose 12 frames of the clip, then read them: (12, 3, 224, 224); or read one a second, then choose."""
    num_frames, fps = num_frames_and_rate(clip)
    index, _ = pick("clip4clip", num_frames=num_frames, fps=fps, number=NUMBER)
    if choose_first:
        return _normalised(read_frames(clip, index, size=SIZE))
    each = list(range(0, num_frames, round(fps)))
    return _normalised(read_frames(clip, each, size=SIZE))[[each.index(frame) for frame in index]]


def by_seconds(path: Path, *, choose_first: bool) -> torch.Tensor:
    """Jump to each second with OpenCV, preprocess its frame, then choose 12 evenly; or choose the seconds first."""
    cv2 = _opencv()
    video = cv2.VideoCapture(str(path))
    fps = int(video.get(cv2.CAP_PROP_FPS))
    seconds = np.arange(-(-int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // fps))
    if choose_first:
        seconds = seconds[np.linspace(0, len(seconds) - 1, NUMBER, dtype=int)]
    pictures = []
    for second in seconds.tolist():
        video.set(cv2.CAP_PROP_POS_FRAMES, second * fps)
        there, frame = video.read()
        if not there:
            break
        picture = square(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)), SIZE)
        pictures.append(_normalised(np.asarray(picture).transpose(2, 0, 1)[None])[0])
    video.release()
    chosen = np.linspace(0, len(pictures) - 1, NUMBER, dtype=int).tolist()
    return torch.stack(pictures)[chosen]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ValueError("the comparison needs OpenCV: pip install opencv-python-headless") from error
    return cv2


def _normalised(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(T, 3, S, S) bytes as CLIP wants them."""
    return (torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(255) - MEAN[:, None, None]) / STD[:, None, None]


def _transcode(video: Path) -> None:
    row = canonical.transcode(video, video.with_suffix(".clip.mp4"), settings=Clips())
    assert row["status"] == "ok", row["reason"]


def _decode(video: Path) -> None:
    _ffmpeg("-threads", "1", "-i", str(video), "-f", "null", "-")


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments], check=True)


def _timed(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _table(title: str, rows: dict[str, list[float]]) -> None:
    """Median seconds of each way, and their ratio to those of the first one."""
    print(f"{title.ljust(28)}{'seconds'.rjust(10)}{'ratio'.rjust(10)}")
    middles = {name: statistics.median(seconds) for name, seconds in rows.items()}
    for name, seconds in middles.items():
        print(f"{name.ljust(28)}{seconds:10.4f}{seconds / next(iter(middles.values())):10.3f}")
    print(flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="to write")
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
