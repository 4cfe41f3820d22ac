"""Small words by which people divide sentences: conjunctions and prepositions, articles, pronouns, auxiliaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from st.text.languages import is_code, language, subtags

TABLE = Path(__file__).with_name("function_words.tsv")


@dataclass(frozen=True, slots=True)
class FunctionWords:
    """The small words of a language, in small letters."""

    openers: frozenset[str] = frozenset()
    """Conjunctions, prepositions, relative pronouns: a line may begin with them, and should not end with them."""
    leaning: frozenset[str] = frozenset()
    """Articles, pronouns, auxiliaries: a line should not end with them."""


@cache
def function_words(code: str | None) -> FunctionWords:
    """Return the small words of a language, by any usual code; none for those that the table lacks."""
    if code is None or not is_code(code):
        return FunctionWords()
    return _table().get(subtags(language(code).code)[0], FunctionWords())


@cache
def _table() -> dict[str, FunctionWords]:
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    return {code: FunctionWords(frozenset(before.split()), frozenset(after.split())) for code, before, after in rows}
