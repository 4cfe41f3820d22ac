"""The published models that a training may start from, and their licences: the table beside this file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from st.errors import UsageError

TABLE = Path(__file__).with_name("origins.tsv")


SHARE_ALIKE = {
    "cc-by-sa-3.0": ("cc-by-sa-3.0", "cc-by-sa-4.0"),
    "cc-by-nc-sa-4.0": ("cc-by-nc-sa-4.0",),
}
"""Licences that ask the same of what is made from a work, and those that it may have: CC BY-SA 3.0, section 4(b), allows
later versions with the same elements; CC BY-NC-SA 4.0, section 3(b), likewise, and there is none yet."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a model that another one was started from."""

    name: str
    """As it was given: a hub id, or the name of a file or folder."""
    hub_id: str = ""
    """Empty if it is not of the table."""
    licence: str = ""
    """The hub's short name of it; empty if it is not of the table."""
    stated: str = ""
    """Where the licence is stated."""

    @property
    def shares_alike(self) -> bool:
        """Whether the licence asks the same of what is made from the model."""
        return self.licence in SHARE_ALIKE


_ROWS = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
_KNOWN = {name.lower(): row for row in _ROWS for name in (*row[0].split(), row[1])}


def find_origin(name: str) -> Origin:
    """Return what the table says of a model; one that it lacks is known by its name alone."""
    row = _KNOWN.get(name.lower())
    return Origin(name) if row is None else Origin(name, *row[1:])


def find_licence(origins: Iterable[Origin], chosen: str | None) -> str:
    """Return the licence that a model is given: the chosen one, or that of all its origins; empty if they differ.

    Raises:
        UsageError: If the chosen one allows commerce and that of an origin does not, or if that of an origin asks for its
            like (:data:`SHARE_ALIKE`) and the chosen one is another.
    """
    origins = list(origins)
    for origin in origins:
        alike = SHARE_ALIKE.get(origin.licence, ())
        if chosen and alike and chosen.lower() not in alike:
            raise UsageError(
                f"`license` is {chosen}, but the model was started from {origin.name}, whose licence {origin.licence} "
                f"({origin.stated}) asks that what is made from it has the same; expected {' or '.join(alike)}"
            )
        if chosen and "-nc" in origin.licence and "-nc" not in chosen.lower():
            raise UsageError(
                f"`license` is {chosen}, but the model was started from {origin.name}, whose licence {origin.licence} "
                f"({origin.stated}) allows no commercial use; expected a licence that does not either"
            )
    if chosen:
        return chosen
    found = {origin.licence for origin in origins}
    return found.pop() if len(found) == 1 else ""
