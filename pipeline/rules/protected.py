"""Outputs that DVC has write-protected: hard links into its cache, which only a job's own outputs take the place of."""

from pathlib import Path
from typing import Any


def allow(file_class: Any) -> None:
    """Let Snakemake make such outputs again. `file_class` is its class of files.

    It refuses to plan whatever is write-protected, of root's files none and of another user's all that `dvc pull` or `record` brought.
    But before a job starts it removes the outputs, and so the links; the cache keeps what it has. A file that a user has protected by
    hand is no link, and is refused as ever.
    """
    refused = file_class.protected

    async def protected(file: Any) -> bool:
        return bool(await refused(file)) and Path(file).stat().st_nlink == 1

    file_class.protected = protected
