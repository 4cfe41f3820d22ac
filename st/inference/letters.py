"""Which labels of a multilingual CTC head can occur in one language."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import torch
from torch import Tensor

from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary
from st.text.languages import LANGUAGES, language

# How Unicode begins the names of the letters of each script in the table of languages.
_NAMES: dict[str, tuple[str, ...]] = {
    "Latn": ("LATIN",),
    "Cyrl": ("CYRILLIC",),
    "Arab": ("ARABIC",),
    "Taml": ("TAMIL",),
    "Hans": ("CJK", "IDEOGRAPHIC"),
    "Jpan": ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"),
}


def possible_labels(vocabulary: CtcVocabulary, code: str, data_dir: Path | None = None) -> Tensor:
    """Return which labels may be written in a language, ``(C,)``, bool.

    Args:
        vocabulary: Of the head.
        code: CoVoST code of the language.
        data_dir: Prepared tree whose vocabulary of that language (``ctc_vocab_fr.json``) decides; without one the
            letters of other scripts are left out.

    Raises:
        UsageError: If CoVoST has no such language.
        ConfigError: If the tree's vocabulary is malformed.
    """
    script = language(code).script
    path = None if data_dir is None else data_dir / f"ctc_vocab_{code}.json"
    if path is not None and path.is_file():
        own = {*SPECIALS, *CtcVocabulary.load(path).symbols}
        return torch.tensor([symbol in own for symbol in vocabulary.symbols])
    return torch.tensor([_fits(symbol, script) for symbol in vocabulary.symbols])


def has_letters(vocabulary: CtcVocabulary, code: str) -> bool:
    """Return whether the head has letters of the script that a language is written in.

    Raises:
        UsageError: If CoVoST has no such language.
    """
    script = _NAMES[language(code).script]
    return any(unicodedata.name(symbol, "").startswith(script) for symbol in vocabulary.symbols if len(symbol) == 1)


def _fits(symbol: str, script: str) -> bool:
    """Return whether a symbol is no letter of a script that only other languages use."""
    foreign = {name for other in LANGUAGES.values() for name in _NAMES[other.script]} - set(_NAMES[script])
    name = unicodedata.name(symbol, "") if len(symbol) == 1 else ""
    return not name.startswith(tuple(foreign))
