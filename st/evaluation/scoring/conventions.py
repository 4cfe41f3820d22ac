"""Conventions of scoring: what is left of hypotheses and references before they are compared.

Published figures differ by them. ``lc.rm`` is how ESPnet reports case-insensitive BLEU: its ``st.sh`` sends both sides
through ``remove_punctuation.pl``, which deletes ``[[:punct:]]`` but for the apostrophe and joins spaces, and then calls
``sacrebleu -lc``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_ASCII_SYMBOLS = frozenset("$+<=>^`|~")
"""What POSIX calls punctuation and Unicode symbols."""
_KEPT = "'"


class _Punctuation(dict[int, int | None]):
    """What becomes of each code point; filled as characters are met, because the alphabet is small."""

    def __missing__(self, code_point: int) -> int | None:
        character = chr(code_point)
        punctuation = unicodedata.category(character)[0] == "P" or character in _ASCII_SYMBOLS
        self[code_point] = None if punctuation and character != _KEPT else code_point
        return self[code_point]


_PUNCTUATION = _Punctuation()


def remove_punctuation(text: str) -> str:
    """Delete what perl's ``[[:punct:]]`` matches, but for the apostrophe, and leave one space between words.

    Nothing takes its place, so that ``e-mail`` becomes ``email``.
    """
    return " ".join(text.translate(_PUNCTUATION).split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """One way to compare translations with references."""

    name: str
    description: str
    lowercase: bool = False
    """Whether capitals are small letters, as sacreBLEU makes them; TER has never told them apart."""
    unpunctuated: bool = False
    """Whether :func:`remove_punctuation` is applied to both sides."""

    def prepare(self, texts: Iterable[str]) -> list[str]:
        """Return texts without what is not compared; capitals are left to sacreBLEU, whose signature tells of them."""
        return [remove_punctuation(text) for text in texts] if self.unpunctuated else list(texts)

    def sign(self, signature: str) -> str:
        """Return a signature of sacreBLEU that also says what was done before sacreBLEU was asked."""
        return f"{signature}|convention:{self.name}" if self.unpunctuated else signature


_REMOVED = "without punctuation but apostrophes"

CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(name="tc", description="true case, with punctuation"),
        Convention(name="lc", description="lower case, with punctuation", lowercase=True),
        Convention(name="rm", description=f"true case, {_REMOVED}", unpunctuated=True),
        Convention(name="lc.rm", description=f"lower case, {_REMOVED} (ESPnet)", lowercase=True, unpunctuated=True),
    )
}
"""By name, as ESPnet calls them in names of files."""
TRUE_CASE = CONVENTIONS["tc"]
"""The convention of CoVoST 2's papers."""
