"""The configuration as it was when Snakemake planned, for jobs that read the Snakefile again: on a cluster hours later."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.files import read_json, whole

FOLDER = Path(".snakemake/petl-vtr")
KEY = "planned"


def keep(config: Mapping[str, Any]) -> str:
    """Write what the plan was made with; the word for `--config` by which its jobs find it."""
    text = json.dumps(config, default=str)
    path = FOLDER / f"planned-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return f"{KEY}={path}"


def kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `keep` has written, for a job that has nothing else. ValueError where it is gone."""
    path = Path(config.get(KEY, FOLDER))
    if not path.is_file():
        raise ValueError(f"there is no {path}, with which this job was planned; start Snakemake again")
    found: dict[str, Any] = read_json(path)
    return found
