import subprocess

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from pipeline.config.dataset import Clips
from pipeline.video import sample
from pipeline.video.sample import num_frames_and_rate, read_frames, square
from pipeline.video.transcode import transcode

SIZE = 32


def clip(folder, *, size="80x60", seconds=9):
    source = folder / "source.mp4"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d={seconds}"]
    subprocess.run([*make, "-c:v", "libx264", "-preset", "ultrafast", source], check=True)
    row = transcode(source, folder / "clip.mp4", settings=Clips(short_side=48))
    assert row["status"] == "ok"
    return folder / "clip.mp4"


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("landscape"))


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("portrait"), size="60x110", seconds=2)


def naive(path, indices, size):
    """Decode everything, then choose."""
    with av.open(str(path)) as container:
        frames = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return np.stack([np.asarray(square(frames[i], size)).transpose(2, 0, 1) for i in indices])


@pytest.mark.parametrize("indices", [[0], [26], [0, 8, 16, 25], [25, 3, 3, 0], list(range(27)), [4, 5, 14, 15, 16, 24]])
def test_chosen_frames_equal_those_of_decoding_everything(landscape, indices):
    read = read_frames(landscape, indices, size=SIZE)
    assert (read.shape, read.dtype) == ((len(indices), 3, SIZE, SIZE), np.uint8)
    np.testing.assert_array_equal(read, naive(landscape, indices, SIZE))


def test_neighbours_in_time_differ_so_that_the_comparison_means_something(landscape):
    frames = read_frames(landscape, list(range(27)), size=SIZE).astype(int)
    assert (np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)) > 0.1).all()


def test_a_portrait_clip_is_cut_in_the_middle(portrait):
    np.testing.assert_array_equal(read_frames(portrait, [1, 5], size=SIZE), naive(portrait, [1, 5], SIZE))


def test_frames_and_rate_are_counted(landscape, portrait):
    assert num_frames_and_rate(landscape) == (27, 3.0)
    assert num_frames_and_rate(portrait) == (6, 3.0)


def test_a_clip_of_one_frame_has_a_rate(tmp_path):
    path = clip(tmp_path, seconds=0.1)
    assert num_frames_and_rate(path) == (1, 3.0)
    np.testing.assert_array_equal(read_frames(path, [0, 0], size=SIZE), naive(path, [0, 0], SIZE))


def test_a_square_by_hand():
    # 6 x 3 pixels, the columns numbered: nothing to scale, and the cut begins at (6 - 3) / 2 = 1.5, to even: 2.
    picture = Image.fromarray(np.tile(np.arange(6, dtype=np.uint8)[None, :, None], (3, 1, 3)))
    assert np.asarray(square(picture, 3))[0, :, 0].tolist() == [2, 3, 4]


@pytest.mark.parametrize("shape", [(298, 224), (224, 298), (321, 243), (243, 321), (64, 64), (57, 33), (33, 58)])
def test_a_square_is_the_one_of_torchvision(shape):
    transforms = pytest.importorskip("torchvision.transforms")
    noise = np.random.default_rng(0).integers(0, 256, (shape[1], shape[0], 3), np.uint8)
    picture = Image.fromarray(noise)
    for size in (31, 32, 224):
        resize = transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC)
        expected = transforms.CenterCrop(size)(resize(picture))
        np.testing.assert_array_equal(np.asarray(square(picture, size)), np.asarray(expected))


def test_far_frames_are_reached_without_decoding_what_lies_between(landscape, monkeypatch):
    decoded = []
    position = sample._position
    monkeypatch.setattr(sample, "_position", lambda *given: decoded.append(position(*given)) or decoded[-1])
    read_frames(landscape, [1, 13, 26], size=SIZE)
    assert decoded == [0, 1, 12, 13, 24, 25, 26]


@pytest.mark.parametrize("index", [27, -1])
def test_a_frame_that_is_not_there_is_an_error(landscape, index):
    with pytest.raises(ValueError, match=rf"clip\.mp4.* no frame {index}"):
        read_frames(landscape, [0, index], size=SIZE)


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_a_file_that_is_no_clip_is_named(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        read_frames(path, [0], size=SIZE)


def test_a_cut_off_clip_is_named(landscape, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(landscape.read_bytes()[: landscape.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4.*delete it and re-run rule transcode"):
        read_frames(path, [0, 26], size=SIZE)


def test_a_damaged_clip_is_an_error_and_not_a_painted_over_picture(landscape, tmp_path):
    path = tmp_path / "damaged.mp4"
    data = bytearray(landscape.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = b"\xff" * 1500
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged\.mp4"):
        read_frames(path, list(range(27)), size=SIZE)
