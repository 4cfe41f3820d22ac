"""Tell the languages of a test set apart by their character trigrams, learned from its own texts.

That is enough for the question whether a translation came out in the wrong one of the languages that a model knows; no
language beyond those of the test set is ever named.

Legend: L languages, V distinct trigrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

MAX_TEXTS = 2000
"""Texts per language that profiles are made from."""
MIN_LETTERS = 20
"""A shorter text is not judged: names and numbers look alike everywhere."""
MIN_PROFILE = 500
"""Trigrams that a language must have shown before anything is said about it."""
MARGIN = 0.75
"""How much more likely each trigram must be on average in the other language, in nats."""

_SMOOTHING = 0.1


class LanguageGuesser:
    """Profiles of some languages.

    Args:
        texts: Sentences by language code; languages with too little text are left out.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        counts = {
            code: Counter(t for line in lines[:MAX_TEXTS] for t in _trigrams(line)) for code, lines in texts.items()
        }
        self.languages = tuple(code for code, found in counts.items() if found.total() >= MIN_PROFILE)
        known = dict.fromkeys(trigram for code in self.languages for trigram in counts[code])
        self._places = {trigram: place for place, trigram in enumerate(known)}
        table = np.array(
            [[counts[code][trigram] for code in self.languages] for trigram in (*known, "")], dtype=np.float64
        )
        table = table.reshape(len(known) + 1, len(self.languages)) + _SMOOTHING
        # (V + 1, L); the last row stands for every trigram that was never seen.
        self._log_probabilities = np.log(table / table.sum(axis=0))

    def guess(self, text: str, expected: str) -> str | None:
        """Return the language that a text is in, if it is clearly not the expected one; None otherwise."""
        if expected not in self.languages or sum(map(str.isalpha, text)) < MIN_LETTERS:
            return None
        places = [self._places.get(trigram, -1) for trigram in _trigrams(text)]
        likelihood = self._log_probabilities[places].mean(axis=0)
        best = int(likelihood.argmax())
        clear = likelihood[best] - likelihood[self.languages.index(expected)] > MARGIN
        return self.languages[best] if clear else None


def _trigrams(text: str) -> list[str]:
    letters = "".join(character if character.isalpha() else " " for character in text.casefold())
    words = f" {' '.join(letters.split())} "
    return [words[start : start + 3] for start in range(len(words) - 2)]
