"""LSMDC 2016: clips of films with one sentence each (Rohrbach et al., IJCV 2017), and its retrieval test of 1,000 clips. Gated.

1.3 TB of clips are fetched, transcoded and deleted one by one.
"""

import re
from pathlib import Path

import pandas as pd

from pipeline.config.schema import Params
from pipeline.config.settings import Annotate, Download
from pipeline.core import textfile
from pipeline.datasets.annotations import reading, rows
from pipeline.datasets.annotations.matching import stem
from pipeline.datasets.annotations.rows import Caption, Video
from pipeline.datasets.annotations.sources import About, Source, address, obtain

ABOUT = About(
    title="LSMDC",
    homepage="https://sites.google.com/site/describingmovies/download",
    licence="gated: research by those who were given access, no sharing",
    citation="Rohrbach et al.: Movie Description, IJCV 2017",
    deviations=(
        "All rows are kept: a clip with several sentences is one video with several captions.",
        "All 1,000 test clips are in the gallery; some codebases leave out 1012_Unbreakable_00.05.16.065-00.05.21.941.",
    ),
)
GATED = (
    "LSMDC is gated: ask for access at https://sites.google.com/site/describingmovies/download, then put the user and password you are "
    "given into ~/.netrc (machine datasets.d2.mpi-inf.mpg.de login ... password ..., chmod 600), or set datasets.lsmdc.annotations and "
    "datasets.lsmdc.videos to folders that hold the files."
)
VARIANTS = ("",)
BASE = "http://datasets.d2.mpi-inf.mpg.de/movieDescription/protected/lsmdc2016/"
FILES = {
    "train": ("LSMDC16_annos_training.csv",),
    "val": ("LSMDC16_annos_val.csv",),
    "test": ("LSMDC16_challenge_1000_publictect.csv", "LSMDC16_challenge_1000_publictest.csv"),
}
LINKS = ("MPIIMD_downloadLinks.txt", "MVADaligned_downloadLinks.txt")
DIGESTS = {
    "LSMDC16_annos_training.csv": "gitblob:1b60a29214a7fd38b6615bc36ff976b05acfdd96",
    "LSMDC16_challenge_1000_publictect.csv": "sha256:9c15f8350956a1974ee42abab9ad2bc26c2146580c29c0bea19410a63e289fad",
}
SOURCES = (
    *(
        Source(name=file.split(".")[0], url=BASE + file, file=file, kind="text", digest=DIGESTS.get(file, ""), gated=GATED)
        for file in (*(names[0] for names in FILES.values()), *LINKS)
    ),
    Source(name="videos", url=BASE, videos=True, gated=GATED),
)
# A clip with several sentences counts once as a video, and the publisher counts sentences only.
EXPECTED: dict[str, tuple[int | None, int | None]] = {"train": (None, 101079), "val": (None, 7408), "test": (1000, 1000)}
TIME = re.compile(r"(\d+)\.(\d\d)\.(\d\d)\.(\d\d\d)")


def file_key(name: str) -> str:
    return stem(name)


def count(params: Params, name: str) -> int:
    """Of sentences, which is at least that of videos."""
    return sum(sentences or 0 for _, sentences in EXPECTED.values())


def download(target: Path, settings: Download, name: str) -> None:
    obtain(target, SOURCES, settings=settings, name=name)


def expected(settings: Annotate) -> dict[str, tuple[int | None, int | None]]:
    return dict(EXPECTED)


def tables(raw: Path, settings: Annotate, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    urls = {} if settings.videos else _links(raw, settings)
    videos: dict[str, Video] = {}
    captions: list[Caption] = []
    for split, files in FILES.items():
        numbers: dict[str, int] = {}
        for clip, seconds, sentence in _read(reading.need(raw, *files), name, strict=settings.counts == "assert"):
            row = Video(clip, f"{clip}.avi", split, src_url=_film(clip), fetch_url=urls.get(clip, ""), anno_duration=seconds)
            if videos.setdefault(clip, row).split != split:
                raise ValueError(f"{name}: clip {clip!r} is in {videos[clip].split} and in {split}")
            order = numbers[clip] = numbers.get(clip, -1) + 1
            captions.append(Caption(clip, f"{clip}#{order}", order, sentence, split))
    return rows.tables(name, videos.values(), captions)


def _read(path: Path, name: str, *, strict: bool) -> list[tuple[str, float, str]]:
    """(clip, seconds, sentence) of each line: six cells between tabs, no header, no quoting, UTF-8 or else Windows-1252."""
    found, rejected, foreign = [], [], 0
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        foreign += not raw.isascii()
        cells = _decoded(raw, path, number).split("\t")
        # A stray quote before an id is none of its name.
        clip = cells[0].strip().lstrip('"')
        times = [TIME.fullmatch(cell.strip()) for cell in cells[3:5]]
        if len(cells) != 6 or not clip or not all(times) or not cells[5].strip():
            rejected.append(f"line {number}: {' | '.join(cells)[:80]}")
        else:
            start, end = (_seconds(match) for match in times if match)
            found.append((clip, round(end - start, 3), cells[5].strip()))
    if foreign:
        print(f"{name}: {foreign} lines of {path.name} are not plain ASCII")
    if rejected:
        said = f"{name}: {path.name}: {len(rejected)} lines do not have six cells with times: {rows.listed(rejected[:3])}"
        if strict:
            raise ValueError(f"{said}. Get the file again, or set datasets.{name}.counts: report to leave them out")
        print(said)
    return found


def _decoded(raw: bytes, path: Path, number: int) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{path}: line {number} is neither UTF-8 nor Windows-1252: {raw[:60]!r}; get the file again")


def _seconds(match: re.Match[str]) -> float:
    hours, minutes, seconds, milli = map(int, match.groups())
    return 3600 * hours + 60 * minutes + seconds + milli / 1000


def _film(clip: str) -> str:
    """The film a clip is cut from: its name without the times."""
    return re.sub(r"_[\d.]+-[\d.]+$", "", clip)


def _links(raw: Path, settings: Annotate) -> dict[str, str]:
    """Where each clip can be fetched, on the mirror if there is one."""
    base = address(SOURCES, "videos", settings)
    urls = [url for file in LINKS for url in textfile.lines(reading.need(raw, file, hint="or set datasets.lsmdc.videos to a folder"))]
    return {file_key(url.rsplit("/", 1)[-1]): url.replace(BASE, base) for url in urls}
