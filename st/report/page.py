"""Pages from templates. Those of HTML need nothing but themselves, and have one layout and one palette, light or dark."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from st.report.provenance import Provenance, provenance

_FOLDER = Path(__file__).parent


def render_page(template: Path | str, *, made: Provenance | None = None, **values: object) -> str:
    """Render a page, of HTML unless the template ends in ``.md.j2``: the same values give the same bytes.

    Args:
        template: A template that extends ``page.html.j2``, by its path, or by its name if it lies here.
        made: How the page came to be; None for now, by the command that runs.
        values: What the template shows, ``title`` among it.
    """
    path = _FOLDER / template
    return _environment(path.parent).get_template(path.name).render(values, provenance=made or provenance())


def render_drawing(template: str, **values: object) -> str:
    """Render a template of SVG that lies here, without a line break at its end."""
    return _environment(_FOLDER).get_template(template).render(values).rstrip("\n")


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=select_autoescape(["html.j2", "svg.j2"], disabled_extensions=["md.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["px"] = "{:.1f}".format
    environment.filters["g"] = "{:g}".format
    environment.tests["finite"] = lambda value: value is not None and math.isfinite(value)
    return environment
