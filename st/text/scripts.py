"""Which letters belong to a script: ISO 15924 codes, and how Unicode begins the names of a script's letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_HAN = ("CJK", "IDEOGRAPHIC")
_NAMES = """\
Adlm ADLAM, Arab ARABIC, Armn ARMENIAN, Bali BALINESE, Beng BENGALI, Cans CANADIAN, Cher CHEROKEE, Cyrl CYRILLIC,
Deva DEVANAGARI, Ethi ETHIOPIC, Geor GEORGIAN, Grek GREEK, Gujr GUJARATI, Guru GURMUKHI, Hang HANGUL, Hebr HEBREW,
Java JAVANESE, Khmr KHMER, Knda KANNADA, Laoo LAO, Latn LATIN, Mlym MALAYALAM, Mong MONGOLIAN, Mtei MEETEI, Mymr MYANMAR,
Nkoo NKO, Olck OL, Orya ORIYA, Sinh SINHALA, Syrc SYRIAC, Taml TAMIL, Telu TELUGU, Tfng TIFINAGH, Thaa THAANA, Thai THAI,
Tibt TIBETAN, Vaii VAI, Yiii YI"""
LETTER_NAMES: dict[str, tuple[str, ...]] = {
    "Hani": _HAN,
    "Hans": _HAN,
    "Hant": _HAN,
    "Jpan": (*_HAN, "HIRAGANA", "KATAKANA"),
    "Kore": (*_HAN, "HANGUL"),
    **{code: (word,) for code, word in map(str.split, _NAMES.split(","))},
}
"""First words of the Unicode names of the letters of each script."""


@lru_cache(maxsize=1 << 16)
def letter_script(character: str) -> str:
    """Return the first word of a character's Unicode name that tells its script, such as ``LATIN``."""
    words = unicodedata.name(character, "UNKNOWN").replace("-", " ").split()
    return words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]


def is_letter_of(character: str, script: str) -> bool:
    """Return whether a letter is of a script; none is foreign to a script that is not known."""
    return script not in LETTER_NAMES or letter_script(character) in LETTER_NAMES[script]
