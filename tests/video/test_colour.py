"""Colours of clips against conversions written here, from the formulas of BT.2100, BT.2408, BT.1886 and H.273."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import av
import imageio_ffmpeg
import numpy as np
import pytest

from pipeline.config.dataset import Clips
from pipeline.video import colour, tags
from pipeline.video.command import Cut, command
from pipeline.video.tags import Tags
from pipeline.video.transcode import transcode

SMALL = Clips(short_side=64, fps=5, crf=4)
PATCH = 32  # pixels
SDR = np.array([(255, 255, 255), (128, 128, 128), (200, 30, 30), (30, 200, 30), (30, 30, 200), (255, 0, 0), (0, 255, 0), (0, 0, 255)]) / 255
FORMAT = "yuv444p12le"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "1", "-bf", "0")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:crf=2")
TESTSRC = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=5:d=0.6")
D65 = (0.3127, 0.3290)
XY = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
LUMA = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
# RGB of BT.2020 -> LMS, and L'M'S' -> ICtCp of PQ (BT.2100, table 7).
LMS = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
ICTCP = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096


def ffmpeg(*words, data=None):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)], input=data, check=True)


def to_xyz(name):
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in XY[name]]).T
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    return columns * np.linalg.solve(columns, white)


def between(light, source, target):
    return light @ (np.linalg.inv(to_xyz(target)) @ to_xyz(source)).T


def pq(nits):
    power = (np.maximum(nits, 0) / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits):
    """The signal that shows `nits` on the reference display of 1,000 cd/m²."""
    shown = np.maximum(nits, 0) / 1000
    luminance = np.maximum(shown @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)
    scene = shown * luminance[:, None] ** ((1 - 1.2) / 1.2)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


def gamma(light):
    return np.maximum(light, 0) ** (1 / 2.4)


def curve(light):
    """BT.709 light in diffuse white -> what an SDR screen shows, as docs/protocol.md has it."""
    knee, peak = 0.85, 10000 / 203
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    most = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    return light * np.where(most <= knee, most, (b + knee) ** 2 / (b - a) * (most + a) / (most + b)) / most


def coded(rgb, matrix, *, full=False):
    """Y, Cb, Cr in the units of 8 bits."""
    if matrix == "ycgco":
        y, cb, cr = (rgb @ np.array(row) for row in ((0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0, -0.5)))
    else:
        red, blue = LUMA[matrix]
        y = rgb @ np.array((red, 1 - red - blue, blue))
        cb, cr = (rgb[:, 2] - y) / (2 - 2 * blue), (rgb[:, 0] - y) / (2 - 2 * red)
    scale, offset = ((255, 255), 0) if full else ((219, 224), 16)
    return np.stack([scale[0] * y + offset, scale[1] * cb + 128, scale[1] * cr + 128], axis=-1)


def write(path, yuv, *words, matrix, primaries, transfer, extent="tv", odd=0, codec=("-c:v", "ffv1"), layout=FORMAT):
    """Five frames of the patches, which say what they are."""
    picture = np.repeat(np.repeat(yuv[None], PATCH, axis=1), 64 - odd, axis=0)[:, odd:]
    raw = np.rint(picture * 16).clip(0, 4095).astype("<u2").transpose(2, 0, 1).tobytes() * 5
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    names = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={extent}"
    # The layout first: what is changed afterwards may have no name for its colours.
    plain = f"setparams=colorspace=bt709:range={extent},format={layout},{names}"
    ffmpeg("-f", "rawvideo", "-pix_fmt", FORMAT, "-s", size, "-r", "5", "-i", "-", "-vf", plain, *codec, *words, path, data=raw)
    return path


def patches(clip, frame=-1):
    """The colours in the middle of each patch, as the product reads them."""
    with av.open(str(clip)) as container:
        picture = list(container.decode(video=0))[frame].to_ndarray(format="rgb24")
    places = ((np.arange(len(SDR)) + 0.5) / len(SDR) * picture.shape[1]).astype(int)
    return picture[picture.shape[0] // 2, places].astype(int)


def made(source, tmp_path, **expected):
    """The row and the clip of `source`."""
    row = transcode(source, tmp_path / "clip.mp4", settings=SMALL)
    wanted = {"status": "ok", "reason": ""} | expected
    assert {key: row[key] for key in wanted} == wanted
    return tmp_path / "clip.mp4"


def near(found, wanted, within, *, pure=None):
    """`pure`: for pure primaries, whose dark parts the steps of a wide HDR signal cannot say."""
    if pure is not None:
        near(found[5:], wanted[5:], pure)
        found, wanted = found[:5], wanted[:5]
    assert np.abs(found - np.rint(255 * np.clip(wanted, 0, 1))).max() <= within, found


KINDS = [("smpte2084", pq), ("arib-std-b67", hlg)]


@pytest.mark.parametrize(("transfer", "signal", "primaries"), [(*KINDS[0], "bt2020"), (*KINDS[1], "bt2020"), (*KINDS[0], "smpte432")])
def test_hdr_is_shown_like_its_sdr_master(tmp_path, transfer, signal, primaries):
    light = 203 * between(SDR**2.4, "bt709", primaries)
    source = write(tmp_path / "a.mkv", coded(signal(light), "bt2020nc"), matrix="bt2020nc", primaries=primaries, transfer=transfer)
    clip = made(source, tmp_path, transfer=transfer, primaries=primaries, matrix="bt2020nc", range="limited")
    near(patches(clip), gamma(curve(SDR**2.4)), 3, pure=16)
    near(patches(clip), SDR, 10, pure=16)
    assert patches(clip)[0].min() >= 235
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range, frame.format.name) == (1, 1, 1, 1, "yuv420p")


@pytest.mark.parametrize(("transfer", "signal"), KINDS)
def test_what_is_brighter_than_white_is_rolled_off(tmp_path, transfer, signal):
    light = np.array([[nits] * 3 for nits in (26, 100, 203, 250, 300, 400, 700, 1000)], float)
    light[-1] = between(np.array([[3.0, 0.5, 0.1]]), "bt709", "bt2020") * 203  # a lamp: its hue stays
    source = write(tmp_path / "a.mkv", coded(signal(light), "bt2020nc"), matrix="bt2020nc", primaries="bt2020", transfer=transfer)
    found = patches(made(source, tmp_path))
    near(found, gamma(curve(between(light, "bt2020", "bt709") / 203)), 3)
    assert abs(found[0, 0] - 108) <= 3  # BT.2408's grey card
    assert (np.diff(found[:7, 0]) >= 0).all() and found[6, 0] > found[3, 0] > found[2, 0] >= 235


def test_the_signals_of_diffuse_white_are_those_of_bt_2408():
    white = np.full((1, 3), 203.0)
    assert (round(float(pq(white)[0, 0]), 2), round(float(hlg(white)[0, 0]), 2)) == (0.58, 0.75)


@pytest.mark.parametrize(("odd", "layout"), [(1, FORMAT), (1, "yuv420p10le"), (0, "yuv422p10le"), (0, "gbrp12le")])
def test_hdr_of_any_layout_and_of_odd_sizes(tmp_path, odd, layout):
    light = 203 * between(SDR**2.4, "bt709", "bt2020")
    tagged = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084", "odd": odd}
    source = write(tmp_path / "a.mkv", coded(pq(light), "bt2020nc"), **tagged, layout=FORMAT if layout.startswith("gbr") else layout)
    if layout.startswith("gbr"):
        ffmpeg("-i", source, "-vf", f"zscale=matrix=gbr:range=full,format={layout}", "-c:v", "ffv1", tmp_path / "b.mkv")
        source = tmp_path / "b.mkv"
    near(patches(made(source, tmp_path)), gamma(curve(SDR**2.4)), 6, pure=32)


def test_hdr_is_made_smaller_before_its_light_is_computed_where_it_is_large(tmp_path):
    light = 203 * between(SDR**2.4, "bt709", "bt2020")
    tagged = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084"}
    source = write(tmp_path / "a.mkv", coded(pq(light), "bt2020nc"), **tagged)
    ffmpeg("-i", source, "-vf", "scale=iw*5:ih*5:flags=neighbor", "-c:v", "ffv1", tmp_path / "b.mkv")
    large = transcode(tmp_path / "b.mkv", tmp_path / "b.mp4", settings=SMALL)
    assert (large["status"], large["width"], large["out_width"], large["out_height"]) == ("ok", 1280, 256, 64)
    near(patches(tmp_path / "b.mp4"), gamma(curve(SDR**2.4)), 3, pure=16)
    words = str(colour.step([Tags(9, 9, 16, 1)], codec="hevc", index=0, size=(3840, 2160), side=224).filters)
    assert "iw/4/2" in words and words.index("iw/4/2") < words.index("tonemap")


def test_hdr_that_names_only_its_transfer_has_the_primaries_and_the_matrix_of_hdr(tmp_path):
    light = 203 * between(SDR**2.4, "bt709", "bt2020")
    yuv = coded(pq(light), "bt2020nc")
    source = write(tmp_path / "a.mkv", yuv, matrix="unknown", primaries="unknown", transfer="smpte2084")
    near(patches(made(source, tmp_path, matrix="", primaries="")), SDR, 10, pure=16)


@pytest.mark.parametrize(("primaries", "matrix", "transfer"), [("bt2020", "bt2020nc", "bt2020-10"), ("smpte432", "bt709", "bt709")])
def test_wide_primaries_are_converted(tmp_path, primaries, matrix, transfer):
    signal = gamma(between(SDR**2.4, "bt709", primaries))
    source = write(tmp_path / "a.mkv", coded(signal, matrix), matrix=matrix, primaries=primaries, transfer=transfer)
    near(patches(made(source, tmp_path, primaries=primaries)), SDR, 5)


def test_ycgco_is_converted(tmp_path):
    source = write(tmp_path / "a.mkv", coded(SDR, "ycgco"), matrix="ycgco", primaries="bt709", transfer="bt709")
    near(patches(made(source, tmp_path, matrix="ycgco")), SDR, 4)


def test_ictcp_is_converted(tmp_path):
    light = 203 * between(SDR**2.4, "bt709", "bt2020")
    found = pq(light @ LMS.T) @ ICTCP.T
    yuv = found * np.array([219, 224, 224]) + np.array([16, 128, 128])
    source = write(tmp_path / "a.mkv", yuv, matrix="ictcp", primaries="bt2020", transfer="smpte2084")
    near(patches(made(source, tmp_path, matrix="ictcp")), gamma(curve(SDR**2.4)), 4, pure=16)


def test_logarithmic_transfer_is_converted(tmp_path):
    signal = 1 + np.log10(np.maximum(SDR**2.4, 0.01)) / 2  # H.273, value 9
    source = write(tmp_path / "a.mkv", coded(signal, "bt709"), matrix="bt709", primaries="bt709", transfer="log100")
    found = patches(made(source, tmp_path, transfer="log100"))
    told = SDR**2.4 > 0.01  # what is darker has no signal
    assert np.abs(found - 255 * SDR)[told].max() <= 4


def test_constant_luminance_is_converted(tmp_path):
    def camera(light):
        return np.where(light < 0.018054, 4.5 * light, 1.099297 * np.maximum(light, 1e-9) ** 0.45 - 0.099297)

    signal = gamma(between(SDR**2.4, "bt709", "bt2020"))
    light = np.where(signal < 0.081243, signal / 4.5, ((signal + 0.099297) / 1.099297) ** (1 / 0.45))
    y = camera(light @ np.array([0.2627, 0.6780, 0.0593]))
    blue, red = signal[:, 2] - y, signal[:, 0] - y
    cb, cr = np.where(blue <= 0, blue / 1.9404, blue / 1.5816), np.where(red <= 0, red / 1.7184, red / 0.9936)
    yuv = np.stack([219 * y + 16, 224 * cb + 128, 224 * cr + 128], axis=-1)
    source = write(tmp_path / "a.mkv", yuv, matrix="bt2020c", primaries="bt2020", transfer="bt2020-10")
    near(patches(made(source, tmp_path, matrix="bt2020c")), SDR, 4, pure=16)


@pytest.mark.parametrize(("number", "matrix"), [(16, "ycgco-re"), (15, "ipt-c2"), (11, "smpte2085"), (14, "ictcp")])
def test_what_cannot_be_converted_is_taken_as_untagged_with_a_reason(tmp_path, number, matrix):
    yuv = coded(SDR, "smpte170m")
    source = write(tmp_path / "a.mp4", yuv, matrix="smpte170m", primaries="bt709", transfer="bt709", codec=H264, layout="yuv444p")
    ffmpeg("-i", source, "-c", "copy", "-bsf:v", f"h264_metadata=matrix_coefficients={number}", tmp_path / "b.mp4")
    reason = f"the colours are taken as untagged in part: their matrix {matrix} cannot be converted"
    near(patches(made(tmp_path / "b.mp4", tmp_path, matrix=matrix, status="degraded", reason=reason)), SDR, 4)


@pytest.mark.parametrize(("said", "status"), [("unknown", "degraded"), ("smpte2084", "ok")])
def test_dolby_vision_without_a_base_layer_is_told_by_the_name_of_its_stream(tmp_path, said, status):
    others = {"matrix": "bt2020nc", "primaries": "bt2020"} if status == "ok" else {"matrix": "unknown", "primaries": "unknown"}
    yuv = coded(SDR, "smpte170m")
    write(tmp_path / "a.mp4", yuv, "-tag:v", "dvh1", **others, transfer=said, codec=X265, layout="yuv420p10le")
    row = transcode(tmp_path / "a.mp4", tmp_path / "clip.mp4", settings=SMALL)
    assert (row["status"], "matrix ipt-c2" in row["reason"]) == (status, status == "degraded")


def test_the_name_of_a_stream_may_be_no_letters():
    class Context:
        @property
        def codec_tag(self):
            return b"\xea".decode("ascii")  # VC-1 in MPEG-TS

    watch = tags.Watch(SimpleNamespace(codec_context=Context()))
    watch.see([av.VideoFrame(16, 16, "yuv420p")])
    assert list(watch.seen) == [Tags(2, 2, 2, 0)]


def test_primaries_are_not_converted_without_their_transfer(tmp_path):
    source = write(tmp_path / "a.mkv", coded(SDR, "bt709"), matrix="bt709", primaries="smpte428", transfer="smpte428")
    reason = "the colours are taken as untagged in part: their transfer smpte428 cannot be converted"
    near(patches(made(source, tmp_path, transfer="smpte428", status="degraded", reason=reason)), SDR, 4)


def test_a_step_that_fails_leaves_the_colours_and_says_so(tmp_path, monkeypatch):
    broken = colour.Step((("zscale", {"matrix": 10, "primaries": 9, "transfer": 18}),))
    monkeypatch.setattr(colour, "step", lambda *_, **__: broken)
    source = write(tmp_path / "a.mkv", coded(SDR, "smpte170m"), matrix="unknown", primaries="unknown", transfer="unknown")
    reason = "the colours are taken as untagged: they could not be converted as their tags say"
    near(patches(made(source, tmp_path, status="degraded", reason=reason)), SDR, 4)


RESERVED = {
    "h264.mp4": (H264, "h264_metadata=matrix_coefficients={0}:colour_primaries={0}:transfer_characteristics={0}"),
    "hevc.mkv": (X265, "hevc_metadata=matrix_coefficients={0}:colour_primaries={0}:transfer_characteristics={0}"),
    "av1.mp4": (
        ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"),
        "av1_metadata=matrix_coefficients={0}:color_primaries={0}:transfer_characteristics={0}",
    ),
}


@pytest.mark.parametrize("value", [0, 3, 77])
@pytest.mark.parametrize("name", RESERVED)
def test_reserved_tags_in_a_stream_count_as_untagged(tmp_path, name, value):
    codec, change = RESERVED[name]
    value = value or (99 if name == "av1.mp4" else 0)  # in AV1 the matrix 0 changes how the rest of the header is read
    ffmpeg(*TESTSRC, "-pix_fmt", "yuv420p", *codec, tmp_path / name)
    ffmpeg("-i", tmp_path / name, "-c", "copy", "-bsf:v", change.format(value), tmp_path / f"wrong-{name}")
    wanted = patches(made(tmp_path / name, tmp_path))
    assert (patches(made(tmp_path / f"wrong-{name}", tmp_path)) == wanted).all()


@pytest.mark.parametrize("value", [0, 3, 77])
def test_reserved_tags_of_a_container_count_as_untagged(tmp_path, value):
    ffmpeg(*TESTSRC, "-pix_fmt", "yuv420p", *H264, tmp_path / "a.mp4")
    words = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-movflags", "write_colr")
    ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", *words, tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    place = data.index(b"colrnclx") + 8
    (tmp_path / "b.mp4").write_bytes(data[:place] + bytes([0, value] * 3) + data[place + 6 :])
    wanted = made(tmp_path / "a.mp4", tmp_path).read_bytes()
    assert made(tmp_path / "b.mp4", tmp_path).read_bytes() == wanted


@pytest.mark.parametrize("value", [0, 3, 77])
def test_reserved_tags_of_prores_frames_count_as_untagged(tmp_path, value):
    ffmpeg(*TESTSRC, "-pix_fmt", "yuv422p10le", "-c:v", "prores_ks", "-profile:v", "0", tmp_path / "a.mov")
    data = bytearray((tmp_path / "a.mov").read_bytes())
    place = -1
    while (place := data.find(b"icpf", place + 1)) >= 0:
        data[place + 18 : place + 21] = bytes([value] * 3)
    (tmp_path / "b.mov").write_bytes(data)
    wanted = patches(made(tmp_path / "a.mov", tmp_path))
    assert (patches(made(tmp_path / "b.mov", tmp_path)) == wanted).all()


def test_the_reserved_matrix_of_vp9_counts_as_untagged(tmp_path):
    ffmpeg(*TESTSRC, "-pix_fmt", "yuv420p", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", tmp_path / "a.webm")
    ffmpeg("-i", tmp_path / "a.webm", "-c", "copy", "-bsf:v", "vp9_metadata=color_space=6", tmp_path / "b.webm")
    wanted = patches(made(tmp_path / "a.webm", tmp_path))
    assert (patches(made(tmp_path / "b.webm", tmp_path, matrix="3")) == wanted).all()


NARROW = {"primaries": "bt709", "transfer": "bt709"}
PARTS = {
    "limited": (coded(SDR, "bt709"), NARROW | {"matrix": "bt709"}),
    "full": (coded(SDR, "bt709", full=True), NARROW | {"matrix": "bt709", "extent": "pc"}),
    "full 601": (coded(SDR, "smpte170m", full=True), NARROW | {"matrix": "smpte170m", "extent": "pc"}),
    "untagged": (coded(SDR, "smpte170m"), {"matrix": "unknown", "primaries": "unknown", "transfer": "unknown"}),
    "2020": (
        coded(gamma(between(SDR**2.4, "bt709", "bt2020")), "bt2020nc"),
        {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "bt2020-10"},
    ),
    "hdr": (
        coded(pq(203 * between(SDR**2.4, "bt709", "bt2020")), "bt2020nc"),
        {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084"},
    ),
}


@pytest.mark.parametrize(
    ("first", "second", "within"),
    [
        ("full", "limited", 4),
        ("limited", "full", 4),
        ("full 601", "limited", 4),
        ("limited", "full 601", 4),
        ("untagged", "limited", 4),
        ("2020", "limited", 6),
        ("hdr", "limited", 10),
        ("limited", "hdr", 10),
    ],
)
def test_tags_that_change_midway_are_followed(tmp_path, first, second, within):
    # Where it says nothing, the H.264 decoder keeps what another part said.
    deep, codec = "hdr" in (first, second), X265 if "untagged" in (first, second) else H264
    joined = b""
    for number, name in enumerate((first, second)):
        yuv, said = PARTS[name]
        words = ("-output_ts_offset", number, *codec)
        joined += write(tmp_path / f"{number}.ts", yuv, *words, **said, codec=(), layout="yuv444p10le" if deep else "yuv420p").read_bytes()
    (tmp_path / "a.ts").write_bytes(joined)
    row = transcode(tmp_path / "a.ts", tmp_path / "clip.mp4", settings=SMALL)
    assert "colours" not in row["reason"]  # what joining does to the packets at the seam is another matter
    for frame in (0, -1):
        near(patches(tmp_path / "clip.mp4", frame)[:5], SDR[:5], within)


@pytest.mark.parametrize(("size", "matrix"), [("1280x64", 1), ("64x578", 1), ("1278x576", 2)])
def test_nothing_said_is_bt_709_in_a_large_picture_and_bt_601_in_a_small_one(tmp_path, size, matrix):
    ffmpeg("-f", "lavfi", "-i", f"color=c=0xC81E1E:s={size}:r=5:d=0.4", "-pix_fmt", "yuv420p", *H264, tmp_path / "a.mp4")
    clip = made(tmp_path / "a.mp4", tmp_path, matrix="", primaries="", transfer="", range="")
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (matrix,) * 3


USUAL = [
    Tags(2, 2, 2, 0),
    Tags(1, 1, 1, 1),
    Tags(1, 1, 1, 2),
    Tags(6, 6, 6, 1),
    Tags(5, 5, 6, 1),
    Tags(1, 2, 13, 1),
    Tags(0, 2, 2, 0, rgb=True),
]


@pytest.mark.parametrize("said", USUAL)
def test_usual_colours_add_no_word_to_the_command(said):
    found = colour.step([said], codec="h264", index=0, size=(640, 480), side=64)
    assert found == colour.AS_IT_IS
    common = {"index": 0, "cut": Cut(), "settings": SMALL, "strict": True}
    assert command(Path("a"), Path("b"), colours=found, **common) == command(Path("a"), Path("b"), **common)


def test_a_stream_of_which_no_picture_decodes_has_no_colours():
    assert colour.step([], codec="h264", index=0, size=(640, 480), side=64) == colour.AS_IT_IS
    assert set(tags.columns([]).values()) == {""}


def large_hdr(path, picture, size, sar):
    """Pictures of light that is taken as HDR, with pixels of the shape `sar`."""
    names = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv"
    plain = f"format=yuv444p,{picture},{names},setsar={sar}"
    ffmpeg("-f", "lavfi", "-i", f"color=gray:s={size}:r=5:d=0.4", "-vf", plain, "-c:v", "ffv1", path)
    return path


@pytest.mark.parametrize(
    ("size", "sar", "pixels", "width", "height"),
    [
        ("400x386", "0", "square", 66, 64),
        ("400x386", "1", "square", 66, 64),
        ("400x386", "4/3", "stored", 66, 64),
        ("400x386", "4/3", "square", 88, 64),
        ("720x576", "64/45", "square", 114, 64),
        ("512x512", "4", "square", 256, 64),
        ("512x512", "1/4", "square", 64, 256),
        ("520x512", "1/2", "square", 64, 126),
    ],
)
def test_large_hdr_keeps_its_shape_and_its_detail(tmp_path, size, sar, pixels, width, height):
    # Bars across the length that is stretched, one of the clip's pixels wide.
    long = max(width, height)
    across, length = ("X", "W") if width == long else ("Y", "H")
    source = large_hdr(tmp_path / "a.mkv", f"geq=lum='if(mod(floor({across}*{long}/{length}),2),140,40)':cb=128:cr=128", size, sar)
    settings = Clips(short_side=64, fps=5, crf=4, pixels=pixels)
    row = transcode(source, tmp_path / "clip.mp4", settings=settings)
    assert (row["status"], row["out_width"], row["out_height"]) == ("ok", width, height)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        light = next(container.decode(video=0)).to_ndarray(format="gray").mean(axis=0 if across == "X" else 1)
    assert np.abs(np.diff(light, 2)).mean() > 40
