"""Templates of this folder, filled in."""

from pathlib import Path
from typing import Any

import jinja2


def rendered(template: str, **values: Any) -> str:
    """The text of a template; what it shows is escaped, and a name that it lacks is an error."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return env.get_template(template).render(**values)
