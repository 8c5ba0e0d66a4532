"""Write the page of all settings, and the JSON schema by which editors check params.yaml (`make docs`).

The page is docs/configuration.md, the schema docs/params.schema.json.
"""

import argparse
import json
from pathlib import Path

from pipeline.config import page
from pipeline.config.json_schema import json_schema
from pipeline.config.schema import Params
from pipeline.core.files import whole
from pipeline.rules.slurm import Site
from pipeline.stages import guarded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--schema", type=Path, required=True, help="JSON Schema to write")
    args = parser.parse_args()
    for target, text in ((args.page, page_text()), (args.schema, schema_text())):
        with whole(target) as part:
            part.write_text(text, encoding="utf-8")


def page_text() -> str:
    """The text of the page."""
    return page.text(Params, site=Site)


def schema_text() -> str:
    """The text of the JSON Schema."""
    return json.dumps(json_schema(Params, name="params.yaml"), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    guarded(main)
