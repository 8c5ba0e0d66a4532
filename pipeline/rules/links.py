"""Folders of the checkout that are links to another disk, with which DVC has trouble. Nothing of DVC is imported: a Snakefile asks."""

import subprocess
from pathlib import Path

KEPT = ("data", "work", "runs", "results")  # folders that hold what DVC keeps


def out_of(checkout: Path) -> list[str]:
    """Those of the folders, or of what lies directly in them, that are links out of the checkout."""
    places = [path for name in KEPT for path in (checkout / name, *sorted((checkout / name).glob("*")))]
    home = checkout.resolve()
    return [str(path.relative_to(checkout)) for path in places if path.is_symlink() and not path.resolve().is_relative_to(home)]


def refuse(checkout: Path = Path()) -> None:
    """ValueError where there are such links, unless DVC was told to leave git alone.

    It would write a .gitignore beside each output, and ends with an error, after the stage has run, where that is not in the repository.
    """
    found = out_of(checkout)
    asked = ["dvc", "config", "core.no_scm"]
    if found and subprocess.run(asked, cwd=checkout, capture_output=True, text=True, check=False).stdout.strip().lower() != "true":
        raise ValueError(
            f"{', '.join(found)} lead out of the checkout, where DVC cannot tell git what to ignore: type"
            " `dvc config --local core.no_scm true`, which costs `dvc exp` and `dvc metrics diff`, or move the whole checkout there"
            " (docs/shared-file-system.md)"
        )
