"""The kinds of file that the project reads, each with whole samples and the entry that reads it.

A reader gets a file and an empty folder, in which an entry that writes puts its result. It returns "" for what was taken, or the sentence
that refused it; a ValueError or OSError counts as one. Readers import what they need, so that a worker is small.
"""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Sampler = Callable[[Path], None]
Reader = Callable[[Path, Path], str]


@dataclass(frozen=True)
class Target:
    """`samples` writes whole files into a folder; `read` is the entry; `limit`: seconds that one file may take."""

    samples: Sampler
    read: Reader
    limit: float = 20.0
    names_file: bool = True  # whether a refusal names the file


VIDEOS: dict[str, tuple[str, ...]] = {
    "a.mp4": ("-c:v", "libx264", "-c:a", "aac"),
    "faststart.mp4": ("-c:v", "libx264", "-bf", "2", "-c:a", "aac", "-movflags", "+faststart"),
    "fragments.mp4": ("-c:v", "libx264", "-g", "5", "-movflags", "+frag_keyframe+empty_moov"),
    "hevc.mov": ("-c:v", "libx265", "-x265-params", "log-level=none"),
    "a.mkv": ("-c:v", "libx264", "-c:a", "flac"),
    "a.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "av1.mkv": ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"),
    "a.avi": ("-c:v", "mpeg4", "-c:a", "mp2"),
    "mjpeg.avi": ("-c:v", "mjpeg",),
    "a.ts": ("-c:v", "libx264", "-c:a", "mp2"),
    "a.mpg": ("-c:v", "mpeg1video", "-c:a", "mp2"),
    "a.flv": ("-c:v", "flv", "-ar", "22050"),
    "a.wmv": ("-c:v", "wmv2",),
    "a.ogv": ("-c:v", "libtheora",),
    "a.mxf": ("-c:v", "mpeg2video", "-an"),
    "a.gif": ("-c:v", "gif", "-an"),
    "a.webp": ("-c:v", "libwebp_anim", "-an"),
    "a.apng": ("-c:v", "apng", "-an", "-f", "apng"),
    "a.avif": ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-an", "-pix_fmt", "yuv420p"),
    "raw.h264": ("-c:v", "libx264", "-an"),
    "a.y4m": ("-an",),
}  # fmt: skip


def videos(folder: Path) -> None:
    from tests.video.numbered import run

    for name, how in VIDEOS.items():
        plain = () if name in ("a.gif", "a.webp", "a.apng", "mjpeg.avi") else ("-pix_fmt", "yuv420p")
        source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1")
        run(*source, *plain, "-threads", "1", *how, folder / name)


def video(path: Path, out: Path) -> str:
    return _transcoded(path, out)


def part(path: Path, out: Path) -> str:
    return _transcoded(path, out, start=0.35, end=0.9)


def _transcoded(path: Path, out: Path, **times: float) -> str:
    from pipeline.config.dataset import Clips
    from pipeline.video.transcode import transcode

    row = transcode(path, out / "clip.mp4", settings=Clips(short_side=32, fps=3), timeout=5.0, **times)
    made, there = row["status"] in ("ok", "degraded"), (out / "clip.mp4").is_file()
    assert made == there, f"the status is {row['status']}, and the clip is {'' if there else 'not '}there"
    assert row["status"] == "ok" or row["reason"], f"a row that is {row['status']} says no reason"
    return "" if made else str(row["reason"])


CAPTIONS = {
    "commas.csv": (
        'video,caption,split,start,end\na.mp4,"one, two",train,0,1.5\nb.mkv,drei,val,,\nc.webm,vier é,test,,\na.mp4,"a ""b"" c",train,1,\n'
    ),
    "semicolons.csv": "video;caption;split\na.mp4;eins;train\nb;zwei;val\nc.webm;drei;test\nd;vier;\ne.mov;fünf;\n",
    "tabs.csv": "\ufeffVideo\tCaption\r\na.mp4\tone\r\nb.mkv\ttwo\r\nc.webm\tthree\r\nd.avi\tfour\r\n",
    "lines.jsonl": "".join(json.dumps({"video": f"{name}", "caption": f"text of {name}"}) + "\n" for name in ("a.mp4", "b.mkv", "c.webm")),
}


def caption_files(folder: Path) -> None:
    for name, text in CAPTIONS.items():
        (folder / name).write_bytes(text.encode())


def captions(path: Path, out: Path) -> str:
    from pipeline.config.dataset import Dataset
    from pipeline.datasets import check, folder

    there = out / "videos"
    there.mkdir()
    for name in ("a.mp4", "b.mkv", "c.webm", "d.avi", "e.mov"):
        (there / name).write_bytes(b"x")
    try:
        check(*folder.tables(out, Dataset(videos=str(there), captions=str(path)), "mine"), name="mine")
    finally:
        for file in there.iterdir():
            file.unlink()
        there.rmdir()
    return ""


def annotation_files(folder: Path) -> None:
    entries = [
        {"video_id": f"video{n}", "split": s, "url": "x", "start time": 1.5, "end time": 12.0}
        for n, s in enumerate(("train", "validate", "test"))
    ]
    sentences = [{"video_id": f"video{n}", "caption": f"text {k} é", "sen_id": k} for n in range(3) for k in range(20)]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"info": {}, "videos": entries, "sentences": sentences}))


def annotations(path: Path, _: Path) -> str:
    from pipeline.config.dataset import Dataset
    from pipeline.datasets import msrvtt

    raw = path.parent / "raw"
    raw.mkdir(exist_ok=True)
    (raw / "MSRVTT_data.json").write_bytes(path.read_bytes())
    msrvtt.tables(raw, Dataset(variant="full"), "msrvtt")
    return ""


def pickle_files(folder: Path) -> None:
    for protocol in (0, 2, 4):
        (folder / f"{protocol}.pkl").write_bytes(
            pickle.dumps({"vid1": [["a", "cat"], ("ä", 1, 2.5, True, None, b"x", 2**70)]}, protocol=protocol)
        )


def pickles(path: Path, _: Path) -> str:
    from pipeline.datasets.fetch.pickles import load

    load(path)
    return ""


MEMBERS = {"a/b.txt": b"some text " * 50, "c.avi": bytes(range(256)) * 8, "ü.txt": b"x"}


def archives(folder: Path) -> None:
    for name, how in {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}.items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w", how) as file:
            for member, content in MEMBERS.items():
                file.writestr(member, content)
    for mode in ("", "gz", "bz2", "xz"):
        with tarfile.open(folder / f"a.tar{mode and '.' + mode}", f"w:{mode}") as tar:
            for member, content in MEMBERS.items():
                about = tarfile.TarInfo(member)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))


def archive(path: Path, out: Path) -> str:
    from pipeline.datasets.fetch.archive import unpack

    unpack(path, out / "made", wanted=lambda name: name if name.endswith((".txt", ".avi")) else None)
    return ""


def adapter_files(folder: Path) -> None:
    from tests.adapters.files import write_adapter

    for run in ("vop", "zero_shot"):
        write_adapter(folder / f"{run}.safetensors", _backbone(folder), run)


def _backbone(folder: Path) -> Path:
    """The weights beside all samples and inputs."""
    from tests.adapters.files import write_backbone

    path = folder.parents[1] / "backbone.safetensors"
    return path if path.is_file() else write_backbone(path)


def adapter(path: Path, _: Path) -> str:
    from pipeline.adapters.loaded import Adapter

    Adapter(path, weights=_backbone(path.parent), place="cpu")
    return ""


def weights_files(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from tests.clip.forms import NAME, architecture, archive_of, hugging_face, random_model

    architecture(folder.parents[1])
    model = random_model()
    state = dict(model.state_dict())
    torch.save({"state_dict": state, "epoch": 3}, folder / "zip.pt")
    torch.save({f"module.{key}": value for key, value in state.items()}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / f"{NAME}.safetensors")
    save_file(hugging_face(state), folder / "hf.safetensors")
    archive_of(model, folder / "archive.pt")


def weights(path: Path, _: Path) -> str:
    from pipeline.clip import load_backbone
    from pipeline.config.schema import Backbone
    from tests.clip.forms import NAME, architecture

    architecture(path.parents[2])
    load_backbone(Backbone(NAME, str(path)))
    return ""


def embeddings_files(folder: Path) -> None:
    import numpy as np

    from pipeline.evaluation.embeddings import Embeddings, save

    unit = np.eye(4, dtype=np.float32)
    rows, names = np.arange(3), [f"v{n}" for n in range(3)]
    made = Embeddings(unit[:3], unit[:3], unit[:1], names, names, rows, rows[:1], rows == 0, np.ones((3, 4), bool))
    save(folder / "embeddings.h5", made, attributes={"dataset": "toy", "seed": 0})


def embeddings(path: Path, _: Path) -> str:
    from pipeline.evaluation.embeddings import load

    load(path)
    return ""


def store_files(folder: Path) -> None:
    import numpy as np

    from pipeline.inputs.writer import Column, Writer, write

    columns = {"frames": Column((2, 3, 8, 8), "u1"), "mask": Column((2,), "?", small=True), "index": Column((2,), "i4", small=True)}
    attrs = {"number": 2, "size": 8, "grid": "centres", "recipe": "0123", "dataset": "toy", "split": "test"}
    made = Writer(folder / "frames.h5", ids=["a", "é"], columns=columns, attrs=attrs, made_from=("a",))
    batch = {"frames": np.ones((2, 2, 3, 8, 8), np.uint8), "mask": np.ones((2, 2), bool), "index": np.zeros((2, 2), np.int32)}
    write(made, iter([batch]), label="toy")


def store(path: Path, _: Path) -> str:
    from pipeline.inputs.frames import FrameStore

    with FrameStore(path) as found:
        found.batch(list(range(len(found))))
    return ""


def index_files(folder: Path) -> None:
    import numpy as np
    import pandas as pd

    from pipeline.core.hdf5 import create, written
    from pipeline.search import index_file as to

    about = dict.fromkeys(("gallery", "kind", "source", "root", "run", "adapter", "adapter_sha256", "backbone_digest"), "x")
    about |= {"format": to.FORMAT, "backbone": {"name": "clip-tiny", "weights": "w"}, "seed": 0, "shape": {}, "temperature": None}
    about |= {"num_videos": 2, "num_captions": 2, "search": {"kind": "exact"}, "skipped": [], "degraded": []}
    text = {name: ["a", "é"] for name, kind in to.VIDEO_COLUMNS.items() if kind is str}
    videos = pd.DataFrame(text | {"start": 0.0, "duration": 1.0})
    captions = pd.DataFrame({"caption_id": ["1", "2"], "text": ["one", "two"], "row": [0, -1]})
    with written(folder / "index.h5") as file:
        to.put_bytes(file, "about", json.dumps(about).encode())
        to.put_table(file, "videos", videos, to.VIDEO_COLUMNS)
        to.put_table(file, "captions", captions, to.CAPTION_COLUMNS)
        frames = np.ones((2, 3, 4), np.float32)
        to.put_rows(file, 2, iter([to.Rows(frames[:, 0], frames, np.ones((2, 3), bool), np.zeros((2, 3)))]))
        create(file, "text", shape=(2, 4), dtype=np.float32)[:] = 1.0


def index(path: Path, _: Path) -> str:
    import numpy as np

    from pipeline.search.reader import Reader

    found = Reader(path)
    try:
        found.rows(np.arange(len(found.videos)))
        found.whole("text")
    finally:
        found.close()
    return ""


def parameter_files(folder: Path) -> None:
    root = Path(__file__).parents[2]
    for number, file in enumerate((root / "params.yaml", root / "tests/workflow/params.yaml")):
        (folder / f"{number}.yaml").write_bytes(file.read_bytes())


def parameters(path: Path, _: Path) -> str:
    from pipeline.config.params import load_params

    load_params(path)
    return ""


TARGETS = {
    "video": Target(videos, video, limit=30.0, names_file=False),
    "part": Target(videos, part, limit=30.0, names_file=False),
    "captions": Target(caption_files, captions),
    "annotations": Target(annotation_files, annotations, names_file=False),
    "pickle": Target(pickle_files, pickles),
    "archive": Target(archives, archive),
    "adapter": Target(adapter_files, adapter),
    "weights": Target(weights_files, weights),
    "embeddings": Target(embeddings_files, embeddings),
    "frames": Target(store_files, store),
    "index": Target(index_files, index),
    "params": Target(parameter_files, parameters),
}
