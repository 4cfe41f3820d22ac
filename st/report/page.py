"""HTML pages that need nothing but themselves: one layout and one palette, in the reader's light or dark setting."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from st import __version__

_FOLDER = Path(__file__).parent


def render_page(template: Path | str, **values: object) -> str:
    """Render a page: the same values give the same bytes, so a page does not say when it was made; browsers do.

    Args:
        template: A template that extends ``page.html.j2``, by its path, or by its name if it lies here.
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
    return environment.get_template(path.name).render(values, version=__version__)
