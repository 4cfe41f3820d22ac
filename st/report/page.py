"""HTML pages that need nothing but themselves: one layout and one palette, in the reader's light or dark setting."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from st.report.provenance import Provenance, provenance

_FOLDER = Path(__file__).parent


def render_page(template: Path | str, *, made: Provenance | None = None, **values: object) -> str:
    """Render a page: the same values give the same bytes.

    Args:
        template: A template that extends ``page.html.j2``, by its path, or by its name if it lies here.
        made: How the page came to be; None for now, by the command that runs.
        values: What the template shows, ``title`` among it.
    """
    path = _FOLDER / template
    environment = Environment(
        loader=FileSystemLoader([path.parent, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(path.name).render(values, provenance=made or provenance())
