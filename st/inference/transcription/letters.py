"""Which labels of a multilingual CTC head can occur in one language."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary
from st.text.languages import language
from st.text.scripts import LETTER_NAMES, is_letter_of, letter_script

_LETTERS = frozenset(word for words in LETTER_NAMES.values() for word in words)


def possible_labels(vocabulary: CtcVocabulary, code: str, data_dir: Path | None = None) -> Tensor:
    """Return which labels may be written in a language, ``(C,)``, bool.

    Args:
        vocabulary: Of the head.
        code: Of the language.
        data_dir: Prepared tree whose vocabulary of that language (``ctc_vocab_fr.json``) decides; without one the
            letters of other scripts are left out.

    Raises:
        UsageError: If this is not the code of a language.
        ConfigError: If the tree's vocabulary is malformed.
    """
    script = language(code).script
    path = None if data_dir is None else data_dir / f"ctc_vocab_{code}.json"
    if path is not None and path.is_file():
        own = {*SPECIALS, *CtcVocabulary.load(path).symbols}
        return torch.tensor([symbol in own for symbol in vocabulary.symbols])
    foreign = [
        len(symbol) == 1 and letter_script(symbol) in _LETTERS and not is_letter_of(symbol, script)
        for symbol in vocabulary.symbols
    ]
    return ~torch.tensor(foreign)


def has_letters(vocabulary: CtcVocabulary, code: str) -> bool:
    """Return whether the head has letters of the script that a language is written in, as far as that is known.

    Raises:
        UsageError: If this is not the code of a language.
    """
    script = language(code).script
    return any(is_letter_of(symbol, script) for symbol in vocabulary.symbols if len(symbol) == 1)
