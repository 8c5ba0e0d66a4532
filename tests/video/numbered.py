"""Videos whose frames show their own number, and the numbers that a clip shows: a wrong time is a wrong number."""

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "4", "-pix_fmt", "yuv420p")
# The left half of frame n has the brightness n % 50, the right half n // 50, in steps of 4 of luma.
STEP, BASE = 4, 50


def run(*arguments: str | Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)


def make(path: Path, source: str, *arguments: str) -> Path:
    run("-f", "lavfi", "-i", source, *(arguments or H264), f"file:{path}")
    return path


def picture(*, seconds: float = 3, size: str = "96x72", rate: str = "25", first: int = 0, then: str = "") -> str:
    """A source whose first frame has the number `first`; `then`: more filters."""
    number = f"if(lt(X,W/2),mod(N+{first},{BASE}),floor((N+{first})/{BASE}))"
    return f"nullsrc=s={size}:r={rate}:d={seconds},geq=lum='16+{STEP}*{number}':cb=128:cr=128{then}"


def numbered(path: Path, *arguments: str, **how) -> Path:
    return make(path, picture(**how), *arguments)


def numbers(path: Path, *, stream: int = 0, turned: int = 0) -> tuple[list[int], list[float]]:
    """The number that each frame shows, after it is turned back by so many degrees counter-clockwise, and its time in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=stream))
    return [_number(np.rot90(f.to_ndarray(format="rgb24").mean(2), -turned // 90)) for f in frames], [f.time for f in frames]


def _number(brightness: np.ndarray) -> int:
    height, width = brightness.shape
    middle = brightness[height // 3 : 2 * height // 3]
    low, high = (middle[:, int(width * left) : int(width * right)].mean() for left, right in ((0.15, 0.35), (0.65, 0.85)))
    return round(low * 219 / 255 / STEP) + BASE * round(high * 219 / 255 / STEP)
