"""The tiny CLIP that DVC's stage pretrains: dvc.yaml names it, since DVC chooses no output by a value of params.yaml."""

import re
from pathlib import Path

from pipeline.config import registry


def refuse(backbone: str, file: Path = Path("dvc.yaml")) -> None:
    """ValueError for a `backbone` that the workflow can pretrain, but the stage of `file` does not."""
    named = re.search(r"^  - pretrained: (\S+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE) if file.is_file() else None
    if named and backbone in registry.tiny() and backbone != named[1]:
        raise ValueError(
            f"backbone.name is {backbone}, but DVC would pretrain {named[1]}; set `pretrained: {backbone}` at the head of {file}"
        )
