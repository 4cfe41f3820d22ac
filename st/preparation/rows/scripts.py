"""Which letters belong to the script of a language."""

from __future__ import annotations

import polars as pl

from st.text.languages import language

_PARTS: dict[str, tuple[str, ...]] = {
    "Hans": ("Hani",),
    "Hant": ("Hani",),
    "Jpan": ("Hira", "Kana", "Hani"),
    "Kore": ("Hang", "Hani"),
}
"""ISO 15924 codes of mixed writing, and the scripts that Unicode knows its letters by."""
_SHARED = r"\p{scx:Zyyy}\p{scx:Zinh}"
"""Letters that belong to no script in particular, such as modifiers."""


def own_letters(code: str) -> str:
    """Return a pattern for one letter of the script of a language."""
    return rf"[\p{{L}}&&[{_letters(code)}]]"


def foreign_letters(code: str) -> str:
    """Return a pattern for one letter of another script than that of a language."""
    return rf"[\p{{L}}&&[^{_letters(code)}{_SHARED}]]"


def _letters(code: str) -> str:
    script = language(code).script
    return "".join(f"\\p{{scx:{part}}}" for part in _PARTS.get(script, (script,)))


def wrong_script_lines(rows: pl.DataFrame, column: str, code: str, min_share: float) -> pl.Series:
    """Find texts in the wrong script.

    Args:
        rows: ``line`` and the text column.
        column: Name of the text column.
        code: CoVoST code of the language that the texts should be in.
        min_share: Least share of the letters that must be in the script of the language.

    Returns:
        The lines of texts with a smaller share; texts without letters are never among them, nor those of a language
        whose script is not known.
    """
    if not language(code).script:
        return rows["line"].clear()  # Nothing tells what its letters are.
    # Letters are counted only in the few texts that hold a foreign one at all: searching is ten times faster.
    texts = rows.select("line", pl.col(column).alias("text"))
    doubtful = texts.filter(pl.col("text").str.contains(foreign_letters(code)))
    own = pl.col("text").str.count_matches(own_letters(code))
    foreign = pl.col("text").str.count_matches(foreign_letters(code))
    return doubtful.filter(own < min_share * (own + foreign))["line"]
