"""DiDeMo: Flickr videos, up to six descriptions each, joined to one paragraph (Hendricks et al., ICCV 2017).

The publisher lists some videos under two names. Variant `listed` drops the descriptions of the name that is not in the retrieval lists, as
CLIP4Clip does; `merged` gives them to the one video that both names are.
"""

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core import textfile
from pipeline.core.layout import SPLITS
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.annotations.sources import About, Source, address, obtain

ABOUT = About(
    title="DiDeMo",
    homepage="https://github.com/LisaAnne/LocalizingMoments",
    licence="annotations BSD-2-Clause; each video under a Creative Commons licence, some without derivatives: keep transcodes private",
    citation="Hendricks et al.: Localizing Moments in Video with Natural Language, ICCV 2017",
    deviations=("Videos are told apart by Flickr user and id, so no video is lost to the ending of its file.",),
)
VARIANTS = ("listed", "merged")
DATA = "https://raw.githubusercontent.com/LisaAnne/LocalizingMoments/master/data/"
LISTS = "https://raw.githubusercontent.com/albanie/collaborative-experts/master/misc/datasets/didemo/"
DIGESTS = {
    "train_data.json": "gitblob:ce7c7cb68c776bfcdc790bd7b1bbbbdd4278a7df",
    "val_data.json": "sha256:b0364cc256553332feb19d46bcc4cd2b09774949fe6c0b25e7ed0ff3c6aefebb",
    "test_data.json": "sha256:1891c04ec48b3d364c739594b2b6413806b74bd9027c092d896e7ebb930ff1cd",
    "yfcc100m_hash.txt": "sha256:481d9aaf020624d5915200bcf4752fb46d3e1931167e8b46715a5f342577cc4d",
    "video_licenses.txt": "sha256:a6b2efc4b071e6c5474f98bd1f23ebcfcd880530ba35a12dcac8070f96a6e2d4",
    "train_list.txt": "sha256:ed8fb2e66ef4ff73caec80167836dc7965d5b1dc8982990952f47bb28f68e507",
    "val_list.txt": "sha256:992923d0c9d0fcea8eb9b3ed5ba16a2f41b8c422872c92be824f1cd0a371b93e",
    "test_list.txt": "sha256:371f608f2c4984caa794ccfa40276069e209c2a0ea26a78acdad0613f4f61a2c",
}
SOURCES = (
    *(
        Source(name=file.split(".")[0], url=(LISTS if "_list" in file else DATA) + file, file=file, kind="text", digest=digest)
        for file, digest in DIGESTS.items()
    ),
    Source(name="videos", url="https://multimedia-commons.s3-us-west-2.amazonaws.com/data/videos/mp4/", videos=True),
)
VIDEOS = {"train": 8392, "val": 1065, "test": 1004}
SENTENCES = {"val": (4109, 4180), "test": (3932, 4021)}  # listed, merged; nobody counted those of train


def file_key(name: str) -> str:
    """<Flickr user>_<Flickr id>, whatever follows: files circulate with the original ending, with .mp4 for or after it, or with none."""
    return "_".join(name.split("_")[:2])


def count(params: Params, name: str) -> int:
    return sum(VIDEOS.values())


def download(target: Path, settings: Download, name: str) -> None:
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    column = VARIANTS.index(settings.variant or VARIANTS[0])
    return {split: (VIDEOS[split], SENTENCES[split][column] if split in SENTENCES else None) for split in SPLITS}


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    licences = _by_id(reading.find(raw, "video_licenses.txt"), last=True)
    hashes = {} if settings.videos else _by_id(reading.need(raw, "yfcc100m_hash.txt", hint="or set datasets.didemo.videos to a folder"))
    base = address(SOURCES, "videos", settings)
    videos, captions = [], []
    for split in SPLITS:
        names = {file_key(official): official for official in textfile.lines(reading.need(raw, f"{split}_list.txt"))}
        texts = _descriptions(raw, split, names, merged=settings.variant == "merged", name=name)
        if settings.counts != "assert":  # a copy of the annotations that lacks some
            names = {key: official for key, official in names.items() if texts[key]}
        for key, official in names.items():
            flickr = key.split("_")[1]
            digest = hashes.get(flickr, "")
            fetch = f"{base}{digest[:3]}/{digest[3:6]}/{digest}.mp4" if digest else ""
            page = f"https://www.flickr.com/video_download.gne?id={flickr}"
            videos.append(Video(key, official, split, src_url=page, fetch_url=fetch, licence=_licence(licences.get(flickr, ""))))
            captions += [Caption(key, f"{key}#{n}", n, text, split, paragraph_id=key) for n, text in enumerate(texts[key])]
    return rows.tables(name, videos, captions)


def _descriptions(raw: Path, split: str, names: dict[str, str], *, merged: bool, name: str) -> dict[str, list[str]]:
    """The descriptions of each listed video, in the publisher's order."""
    texts: dict[str, list[str]] = defaultdict(list)
    twins: set[str] = set()
    strangers: list[str] = []
    for official, text in _published(raw, split):
        key = file_key(official)
        if key not in names:
            strangers.append(official)
            continue
        if official != names[key]:
            twins.add(official)
        if official == names[key] or merged:
            texts[key].append(text)
    rows.refuse(name, f"videos have descriptions and are not in {split}_list.txt", strangers)
    print(f"{name}: {split}: {len(twins)} videos have a second name, whose descriptions are {'merged' if merged else 'dropped'}")
    return texts


def _published(raw: Path, split: str) -> list[tuple[str, str]]:
    """(name, description) of each annotation: the publisher's JSON, or the CSV with joined paragraphs that T-MASS made of it."""
    path = reading.need(raw, f"{split}_data.json", f"didemo_{split}_label.csv")
    if path.suffix == ".csv":
        return [(PurePosixPath(row["video_path"]).name, row["text"]) for _, row in reading.table(path, columns=["video_path", "text"])]
    content: list[dict[str, Any]] = reading.records(path, reading.json_file(path), keys={"video": str, "description": str})
    return [(row["video"], row["description"]) for row in content]


def _by_id(path: Path | None, *, last: bool = False) -> dict[str, str]:
    """First cell -> second or `last` cell of a file with tabs between. The hashes are used as they are: they lack leading zeros."""
    cells = [line.split() for line in textfile.lines(path)] if path else []
    return {row[0]: row[-1 if last else 1] for row in cells if len(row) > 1 and row[0].isdigit()}


def _licence(url: str) -> str:
    """http://creativecommons.org/licenses/by-nc/2.0/ -> CC BY-NC 2.0."""
    parts = PurePosixPath(url).parts
    return f"CC {parts[-2].upper()} {parts[-1]}" if "licenses" in parts else url
