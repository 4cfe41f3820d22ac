r"""Read the TSV tables of Common Voice and CoVoST 2, strictly.

Quotes are text. A backslash escapes the character after it, as in the official CoVoST script (``\"`` is ``"``), but
never a column or a row end. ``NULL``, ``NA`` and ``nan`` are text. A BOM, CRLF and blank lines at the end are accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from st.corpora.tsv import clean_text, read_tsv

__all__ = ["clean_text", "read_table"]


def read_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a table as text.

    Returns:
        The columns, and ``line``: the row's line number in the file, from 2.

    Raises:
        ManifestError: As for :func:`st.corpora.tsv.read_tsv`.
    """
    return read_tsv(path, columns, escapes=True)
