"""Store rendered clips as video files come in the wild: several containers, codecs, rates, shapes and defects of form."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import imageio_ffmpeg
import numpy as np

from pipeline.motion.render import Image, frame, ground
from pipeline.motion.scene import Scene, pick

# (suffix, encoder, pixel format); 4:4:4 lets H.264 keep odd sizes.
KINDS = {
    "mp4": (".mp4", "libx264", "yuv420p"),
    "webm": (".webm", "libvpx-vp9", "yuv420p"),
    "avi": (".avi", "mpeg4", "yuv420p"),
    "mkv": (".mkv", "libx264", "yuv420p"),
    "odd": (".mp4", "libx264", "yuv444p"),
    "rotated": (".mp4", "libx264", "yuv420p"),
    "variable": (".mkv", "libx264", "yuv420p"),
}
SHARES = (0.34, 0.12, 0.14, 0.12, 0.10, 0.08, 0.10)
SIZES = ((160, 120), (176, 132), (192, 128), (120, 160), (132, 176), (128, 128))  # width, height
RATES = (8, 10, 12, 15, 24, 25, 30)
OPTIONS = {
    # With its lookahead, PyAV's libx264 gave other bytes from run to run for one file in 25.
    "libx264": {"preset": "veryfast", "crf": "18", "x264-params": "threads=1:sync-lookahead=0:rc-lookahead=0:mbtree=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0"},
    "mpeg4": {"qscale": "3", "flags": "+qscale"},
}
CLOCK = Fraction(1, 1000)


@dataclass(frozen=True)
class Form:
    """How a clip is stored. `seconds` is its length, `rate` in frames a second, `audio` the pitch in hertz or 0 for none."""

    kind: str
    width: int
    height: int
    rate: int
    seconds: float
    audio: int

    @property
    def suffix(self) -> str:
        return KINDS[self.kind][0]


def sample(rng: np.random.Generator) -> Form:
    """Draw a form."""
    kind = list(KINDS)[int(rng.choice(len(KINDS), p=SHARES))]
    (width, height), rate = pick(rng, SIZES), pick(rng, RATES)
    odd = 1 if kind == "odd" else 0
    audio = pick(rng, (0, 220, 440)) if kind in ("mp4", "mkv", "avi") else 0
    return Form(kind, width + odd, height + odd, rate, float(rng.uniform(1.6, 2.6)), audio)


def write(scene: Scene, target: Path, *, form: Form, seed: int) -> None:
    """Render `scene` and store it at `target`, whose suffix must be the form's. The same call gives the same bytes."""
    part = target.with_name(f".{target.stem}.part{form.suffix}")
    times = _times(form, np.random.default_rng(seed))
    # A rotated clip is stored lying on its side, with a tag that says how to turn it.
    turned = form.kind == "rotated"
    _encode(_pictures(scene, times, form, turned=turned), part, form=form, times=times, turned=turned)
    if turned:
        _tag_rotation(part, target)
        part.unlink()
    else:
        os.replace(part, target)


def _times(form: Form, rng: np.random.Generator) -> list[float]:
    """The time of every frame in seconds; a variable rate alternates between long and short steps."""
    number = max(int(form.seconds * form.rate), 8)
    steps = rng.choice((0.5, 1.0, 2.0), size=number) if form.kind == "variable" else np.ones(number)
    return [float(t) for t in (np.cumsum(steps) - steps[0]) / form.rate]


def _pictures(scene: Scene, times: list[float], form: Form, *, turned: bool) -> Iterator[Image]:
    canvas = ground(scene, height=form.height, width=form.width)
    for time in times:
        picture = frame(scene, time / times[-1], canvas=canvas)
        yield np.ascontiguousarray(np.rot90(picture)) if turned else picture


def _encode(pictures: Iterator[Image], target: Path, *, form: Form, times: list[float], turned: bool) -> None:
    _, codec, pixels = KINDS[form.kind]
    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=form.rate, options=OPTIONS[codec] | {"threads": "1"}))
        stream.width, stream.height = (form.height, form.width) if turned else (form.width, form.height)
        stream.pix_fmt = pixels
        stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
        if form.kind == "variable":
            stream.codec_context.time_base = CLOCK
        audio = container.add_stream("mp3" if form.kind == "avi" else "aac", rate=22050) if form.audio else None
        for number, (picture, time) in enumerate(zip(pictures, times, strict=True)):
            image = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if form.kind == "variable":
                image.pts, image.time_base = round(time * 1000), CLOCK
            else:
                image.pts, image.time_base = number, Fraction(1, form.rate)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
        if audio is not None:
            for sound in _tone(form.audio, times[-1]):
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def _tone(pitch: int, seconds: float) -> Iterator[av.AudioFrame]:
    """A quiet sine, as a reminder that transcoding must drop the sound."""
    wave = (2000 * np.sin(2 * np.pi * pitch * np.arange(int(22050 * seconds)) / 22050)).astype(np.int16)
    for start in range(0, len(wave) - 1024, 1024):
        sound = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 22050, start, Fraction(1, 22050)
        yield sound


def _tag_rotation(source: Path, target: Path) -> None:
    """Copy the stream with a display matrix that turns the picture back; PyAV cannot write one, ffmpeg can."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-display_rotation:v:0", "-90"]
    command += ["-i", f"file:{source}", "-c", "copy", "-fflags", "+bitexact", "-f", "mp4", f"file:{target}.part"]
    subprocess.run(command, check=True, capture_output=True)
    os.replace(f"{target}.part", target)
