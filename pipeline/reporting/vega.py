"""Vega for pages that need no network. DVC's own page of plots loads it from another host."""

from importlib.metadata import version

import vl_convert

PLACE = '<script id="vega"></script>'


def page(template: str) -> str:
    """The HTML template of `dvc plots` with Vega, Vega-Lite and Vega-Embed in its empty script. ValueError if it has none."""
    if template.count(PLACE) != 1:
        raise ValueError(f"the page has {template.count(PLACE)} times {PLACE!r}, and Vega goes into one")
    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # The bundle is a module; as a plain script, which runs before the plots do, it needs a scope of its own.
    return template.replace(PLACE, f"<script>/* vl-convert-python {version('vl-convert-python')} */(() => {{{code}}})();</script>")
