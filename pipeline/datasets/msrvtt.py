"""MSR-VTT: 10,000 clips of YouTube videos with 20 sentences each (Xu et al., CVPR 2016).

Variants: `9k` and `7k` train on 9,000 or 7,010 clips and test on 1k-A (Yu et al., ECCV 2018), one sentence a clip; `full` is the official
split and `1kB` that of Miech et al. (arXiv:1804.02516), both tested with all 20 sentences of a clip.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core import textfile
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import BOTH, Caption, Video
from pipeline.datasets.annotations.sources import About, Source, named, obtain

ABOUT = About(
    title="MSR-VTT",
    homepage="https://www.microsoft.com/en-us/research/publication/msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
    licence="none stated; clips of YouTube videos, for research",
    citation="Xu, Mei, Yao, Rui: MSR-VTT, CVPR 2016",
    deviations=("The sentences are the publisher's; cleaned versions exist and are not used.",),
)
VARIANTS = ("9k", "7k", "full", "1kB")
VALIDATION = {"9k": 497, "7k": 497, "full": 497, "1kB": 360}  # official validation videos among the training videos
TRAIN = {"9k": 9000, "7k": 7010, "full": 7010, "1kB": 6656}
TEST = {"9k": (1000, 1), "7k": (1000, 1), "full": (2990, 20), "1kB": (1000, 20)}  # videos, sentences each
LISTS = "https://raw.githubusercontent.com/albanie/collaborative-experts/master/misc/datasets/msrvtt/"
DATA = (
    "MSRVTT_data.json",
    "train_val_annotation.zip",
    "test_videodatainfo.json.zip",
    "train_val_videodatainfo.json",
    "test_videodatainfo.json",
)
CSVS = ("MSRVTT_JSFUSION_test.csv", "MSRVTT_train.9k.csv", "MSRVTT_train.7k.csv")


def _video(name: str) -> str | None:
    path = PurePosixPath(name)
    return f"videos/{path.name}" if path.parts[-3:-1] == ("videos", "all") and path.suffix == ".mp4" else None


SOURCES = (
    Source(
        name="annotations",
        url="https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msrvtt_data.zip",
        file="msrvtt_data.zip",
        kind="zip",
        unpack=named(DATA[0], *CSVS),
        members={
            DATA[0]: "gitblob:f41b0f660fc5dbd8115f30033fb3f2e064ced442",
            CSVS[0]: "sha256:e61144b312c8a2fc2126f96504c981f8c23c05b3ba9655a56e2af50ac8a4b16a",
            CSVS[1]: "sha256:0a7ece2418e1f7ac5680555a04ddfef8950293ac3c4bdd6584fb0fa6cc0ff7d3",
            CSVS[2]: "sha256:ca0d04c34310168b620c90c67eaec702b37398943965f5e1f9f44af8f193da7d",
        },
    ),
    Source(
        name="train_list_miech",
        url=f"{LISTS}train_list_miech.txt",
        file="train_list_miech.txt",
        digest="sha256:bd1b91cc6e07ace29fd12c2be74b69031f647567bb647c73b8dd8a28e1455b80",
    ),
    Source(
        name="test_list_miech",
        url=f"{LISTS}test_list_miech.txt",
        file="test_list_miech.txt",
        digest="sha256:e2b489732475874bb32dd2689bd3a1e13a8473a9bf69a6b97efb8f39a1c12d1e",
    ),
    Source(
        name="videos",
        url="https://www.robots.ox.ac.uk/~maxbain/frozen-in-time/data/MSRVTT.zip",
        file="MSRVTT.zip",
        kind="zip",
        videos=True,
        unpack=_video,
    ),
)


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    variant = params.datasets[name].variant or VARIANTS[0]
    return TRAIN[variant] + TEST[variant][0]


def download(target: Path, settings: Download, name: str) -> None:
    """Annotations and videos; Miech's lists only where they are used."""
    used = [source for source in SOURCES if "miech" not in source.name or settings.variant == "1kB"]
    obtain(target, used, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    variant = settings.variant or VARIANTS[0]
    held = VALIDATION[variant] if settings.validation == "clean" or variant == "full" else 0
    train = TRAIN[variant] - held
    videos, sentences = TEST[variant]
    return {"train": (train, 20 * train), "val": (VALIDATION[variant], 20 * VALIDATION[variant]), "test": (videos, videos * sentences)}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    videos, sentences = _published(raw, name)
    test, train = _split(raw, settings.variant or VARIANTS[0], videos, name)
    rows.refuse(name, "videos are trained and tested on", sorted(set(test) & set(train)))
    home = dict.fromkeys(test, "test") | {video: _home(videos[video], settings) for video in train}
    found = [_row(videos[video], split) for video, split in home.items()]
    captions = [
        Caption(video, f"{video}#{key}", order, text, split)
        for video, split in home.items()
        for order, (key, text) in enumerate(test.get(video) or sentences[video])
    ]
    return rows.tables(name, found, captions)


def _published(raw: Path, name: str) -> tuple[dict[str, dict[str, Any]], dict[str, list[tuple[int, str]]]]:
    """The videos by id, and of each its sentences with their numbers, in their order."""
    videos: dict[str, dict[str, Any]] = {}
    sentences: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in _files(raw):
        content = reading.json_file(path)
        if not isinstance(content, dict) or "videos" not in content or "sentences" not in content:
            raise ValueError(f"{path} has no 'videos' and 'sentences'; it is not MSR-VTT's")
        kinds: dict[str, type | tuple[type, ...]] = {
            "video_id": str,
            "split": str,
            "url": str,
            "start time": (int, float),
            "end time": (int, float),
        }
        new = {row["video_id"]: row for row in reading.records(path, content["videos"], keys=kinds)}
        rows.refuse(name, "videos are in two annotation files", sorted(videos.keys() & new.keys()))
        videos |= new
        for row in reading.records(path, content["sentences"], keys={"video_id": str, "caption": str, "sen_id": int}):
            sentences[row["video_id"]].append((row["sen_id"], row["caption"]))
    rows.refuse(name, "videos have sentences and no entry of their own", sorted(sentences.keys() - videos.keys()))
    rows.refuse(name, "videos do not have 20 sentences", sorted(video for video in videos if len(sentences[video]) != 20))
    return videos, {video: sorted(found) for video, found in sentences.items()}


def _files(raw: Path) -> Sequence[Path]:
    """The merged file, or the two original ones, zipped or not."""
    merged = reading.find(raw, DATA[0])
    if merged:
        return [merged]
    return [reading.need(raw, *names, hint=f"{DATA[0]} would do as well") for names in ((DATA[1], DATA[3]), (DATA[2], DATA[4]))]


def _split(raw: Path, variant: str, videos: dict[str, dict[str, Any]], name: str) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """Test videos with their sentences, empty where all are used; and the training videos, validation included."""
    official = {split: [v for v, row in videos.items() if row["split"] == split] for split in ("train", "validate", "test")}
    if variant == "full":
        return {video: [] for video in official["test"]}, official["train"] + official["validate"]
    if variant == "1kB":
        test, train = (textfile.lines(reading.need(raw, f"{split}_list_miech.txt")) for split in ("test", "train"))
        _refuse_strangers(videos, test + train, name)
        return {video: [] for video in test}, train
    chosen = _one_sentence(reading.need(raw, CSVS[0]), name)
    given = reading.find(raw, f"MSRVTT_train.{variant}.csv")
    if given:
        train = [row["video_id"] for _, row in reading.table(given, columns=["video_id"])]
    else:  # 9k is all that is not tested on, 7k the official training and validation videos
        train = [v for v in videos if v not in chosen] if variant == "9k" else official["train"] + official["validate"]
    _refuse_strangers(videos, [*chosen, *train], name)
    return chosen, train


def _one_sentence(path: Path, name: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for line, row in reading.table(path, columns=["key", "vid_key", "video_id", "sentence"]):
        if row["vid_key"] != row["video_id"].replace("video", "msr") or row["video_id"] in found:
            raise ValueError(f"{path}: line {line}: {row['video_id']!r} is there twice or has another vid_key, {row['vid_key']!r}")
        found[row["video_id"]] = [(row["key"], row["sentence"])]
    return found


def _refuse_strangers(videos: dict[str, dict[str, Any]], names: Sequence[str], name: str) -> None:
    rows.refuse(name, "videos of a split are not in the annotations", [video for video in names if video not in videos])


def _home(row: dict[str, Any], settings: Annotate) -> str:
    if row["split"] != "validate":
        return "train"
    return "val" if settings.validation == "clean" or settings.variant == "full" else BOTH


def _row(row: dict[str, Any], split: str) -> Video:
    seconds = round(float(row["end time"]) - float(row["start time"]), 3)
    return Video(row["video_id"], row["video_id"], split, src_url=row["url"], anno_duration=seconds)
