"""Contents of a gallery, before an adapter has seen it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.search.index_file import CAPTION_COLUMNS, VIDEO_COLUMNS


@dataclass(frozen=True)
class Found:
    """The clips of a gallery and what is said about them.

    `kind`: dataset or folder; `source`: which; `root`: folder of the clips below `home`. `videos`, `captions`: tables with the columns of
    pipeline/search/index_file.py; `captions` is None where those of the index before are kept. `fps`: frames a second of all clips.
    `skipped`, `degraded`: files that are not there, or not whole, each with its `reason`.
    """

    kind: str
    source: str
    home: Path
    root: str
    fps: float
    videos: pd.DataFrame
    captions: pd.DataFrame | None
    skipped: list[dict[str, str]] = field(default_factory=list)
    degraded: list[dict[str, str]] = field(default_factory=list)

    def clip(self, row: int) -> Path:
        return self.home / self.root / str(self.videos["clip"][row])


def table(rows: list[dict[str, object]], columns: dict[str, type]) -> pd.DataFrame:
    """Rows as a table that has the columns without a row, too."""
    kinds = {name: object if kind is str else kind for name, kind in columns.items()}
    return pd.DataFrame(rows, columns=list(columns)).astype(kinds)


def videos(rows: list[dict[str, object]]) -> pd.DataFrame:
    return table(rows, VIDEO_COLUMNS)


def captions(rows: list[dict[str, object]]) -> pd.DataFrame:
    return table(rows, CAPTION_COLUMNS)


def below(path: Path, home: Path) -> str:
    """Relative to `home` where it lies below, so that the whole folder may be moved."""
    # Not resolved: the files of a DVC workspace may be links into its cache.
    whole = Path(os.path.normpath(path.absolute()))
    return whole.relative_to(home).as_posix() if whole.is_relative_to(home) else str(whole)
