"""In which form to store frames and tokens: bytes a video and the time to read one, form by form, of the same 64 videos.

`python -m benchmarks.storage`. Frames are those of testsrc2 with some noise, 12 of 224 pixels; tokens are what six blocks of a
ViT-B/32 with random weights make of them, in float16. Each form is written to one file and its rows are read in random order,
checksums on; times are medians over the rows, files are in the page cache. JPEG is not lossless: it shows what it would save.
"""

import io
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image

from pipeline.clip import FrozenClip, build
from pipeline.runtime import device
from pipeline.video.sample import read_frames

VIDEOS = 64
FILTERS: dict[str, dict[str, Any]] = {
    "raw": {},
    "lzf": {"compression": "lzf"},
    "shuffle, lzf": {"compression": "lzf", "shuffle": True},
    "shuffle, gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}


def main() -> None:
    device.prepare(torch.device("cpu"), threads=2, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        frames = _frames(Path(folder))
        tokens = _tokens(frames)
        print("form".ljust(24), "bytes a video".rjust(14), "of raw".rjust(8), "ms to read".rjust(12), "of raw".rjust(8))
        for kind, rows in (("frames", frames), ("tokens@6, float16", tokens)):
            found = {name: _filtered(Path(folder, "x.h5"), rows, options) for name, options in FILTERS.items()}
            if kind == "frames":
                found |= {name: _encoded(rows, name) for name in ("PNG", "JPEG")}
            for name, (size, seconds) in found.items():
                shares = size / found["raw"][0], seconds / found["raw"][1]
                print(f"{kind + ', ' + name:32} {size:10.0f} {shares[0]:8.3f} {1000 * seconds:12.3f} {shares[1]:8.2f}", flush=True)


def _frames(folder: Path) -> np.ndarray:
    """(V, 12, 3, 224, 224), each video another stretch of one clip."""
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i"]
    scene = f"testsrc2=s=298x224:r=3:d={VIDEOS + 4},noise=alls=8:allf=t"
    subprocess.run([*make, scene, "-c:v", "libx264", "-g", "3", "-pix_fmt", "yuv420p", folder / "x.mp4"], check=True)
    return np.stack([read_frames(folder / "x.mp4", list(range(3 * row, 3 * row + 12)), size=224) for row in range(VIDEOS)])


@torch.no_grad()
def _tokens(frames: np.ndarray) -> np.ndarray:
    clip = FrozenClip(build("ViT-B-32-quickgelu"), name="ViT-B-32-quickgelu")
    mask = torch.ones(1, 12, dtype=torch.bool)
    return np.concatenate([clip.frames_at(6, torch.from_numpy(row[None]), mask=mask).half().numpy() for row in frames])


def _filtered(path: Path, rows: np.ndarray, options: dict[str, Any]) -> tuple[float, float]:
    """Bytes a row, and seconds to read one."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", data=rows, chunks=(1, *rows.shape[1:]), fletcher32=True, **options)
        size = data.id.get_storage_size() / len(rows)
    with h5py.File(path) as file:
        return size, _time(lambda row: file["x"][row], rows)


def _encoded(rows: np.ndarray, kind: str) -> tuple[float, float]:
    def encode(picture: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 1}))
        return buffer.getvalue()

    stored = [[encode(picture) for picture in row] for row in rows]

    def read(row: int) -> np.ndarray:
        return np.stack([np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1) for data in stored[row]])

    return sum(map(len, (data for row in stored for data in row))) / len(rows), _time(read, rows)


def _time(read: Callable[[int], np.ndarray], rows: np.ndarray) -> float:
    seconds = []
    for row in np.random.default_rng(0).permutation(len(rows)):
        start = time.perf_counter()
        read(int(row))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
