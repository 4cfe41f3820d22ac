"""Signs that a hypothesis is no translation: found without a model, counted per direction, marked on examples.

Each sign is measured against the reference, so that a reference which repeats itself, or a name that is the same in
both languages, raises none. The languages of a test set are told apart by their character trigrams, learned from its own
texts: enough to see that a translation came out in another one of them. No language beyond these is ever named.

Legend: L languages, V distinct trigrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from st.evaluation.scoring.hypotheses import HypothesisRow
from st.evaluation.scoring.scores import sentence_chrf
from st.text.languages import language, split_direction
from st.text.repetition import repeats, tokens
from st.text.scripts import is_letter_of

FLAGS: dict[str, str] = {
    "empty": "no text",
    "repetition": "the same words again and again: 4 times one, 3 times several, or one 4-gram 3 times more than expected",
    "copy": "the source sentence instead of a translation",
    "script": "more than half of its letters of a script that the target language is not written in",
    "language": "by its character trigrams clearly another language of the test set",
    "long": "more than twice as long as the reference, and by more than ten characters",
    "short": "less than half as long as the reference, and by more than ten characters",
}
"""Kinds of signs and what they mean."""

FLAG_LABELS: dict[str, str] = {"script": "wrong script", "language": "wrong language", "copy": "copy of the source"}
"""What to call a kind where its name alone says too little."""

_COPY_CHRF, _DIFFERENT_CHRF = 60.0, 40.0
_SLACK = 10
"""Characters that a length may differ by in any case."""
MAX_TEXTS = 2000
"""Texts per language that profiles are made from."""
MIN_LETTERS = 20
"""A shorter text is not judged: names and numbers look alike everywhere."""
MIN_PROFILE = 500
"""Trigrams that a language must have shown before anything is said about it."""
MARGIN = 0.75
"""How much more likely each trigram must be on average in the other language, in nats."""

_SMOOTHING = 0.1


def flag_hypotheses(direction: str, rows: Sequence[HypothesisRow], guesser: LanguageGuesser) -> list[tuple[str, ...]]:
    """Return the signs of each row, in the order of :data:`FLAGS`."""
    target = split_direction(direction)[1]
    signs: dict[str, Callable[[HypothesisRow], bool]] = {
        "repetition": lambda row: repeats(row.hypothesis, row.reference),
        "copy": lambda row: copies(row.hypothesis, row.source, row.reference),
        "script": partial(_other_script, language(target).script),
        "language": partial(_other_language, target, guesser),
        "long": lambda row: _is_longer(row.hypothesis, row.reference),
        "short": lambda row: _is_longer(row.reference, row.hypothesis),
    }
    return [
        tuple(name for name, found in signs.items() if found(row)) if row.hypothesis.strip() else ("empty",)
        for row in rows
    ]


def count_flags(flags: Iterable[Sequence[str]]) -> dict[str, int]:
    """Count every kind of sign, those that never came up too."""
    counts = Counter(name for found in flags for name in found)
    return {name: counts[name] for name in FLAGS}


def copies(hypothesis: str, source: str, reference: str) -> bool:
    """Return whether a hypothesis is its source, by chrF++, where the reference is not."""
    words, said = tokens(hypothesis), set(tokens(source))
    # chrF++ is slow, and few hypotheses share half their words with the source.
    if not words or 2 * sum(word in said for word in words) < len(words):
        return False
    return (
        sentence_chrf(hypothesis, source) >= _COPY_CHRF
        and sentence_chrf(reference, source) < _DIFFERENT_CHRF
        and sentence_chrf(hypothesis, reference) < _COPY_CHRF
    )


def foreign_share(text: str, script: str) -> float:
    """Return the share of a text's letters that are not of a script; 0 for a text without letters."""
    letters = [character for character in text if character.isalpha()]
    foreign = sum(not is_letter_of(character, script) for character in letters)
    return foreign / len(letters) if letters else 0.0


def _other_script(script: str, row: HypothesisRow) -> bool:
    return foreign_share(row.hypothesis, script) > 0.5 >= foreign_share(row.reference, script)


def _other_language(target: str, guesser: LanguageGuesser, row: HypothesisRow) -> bool:
    return guesser.guess(row.hypothesis, target) is not None and guesser.guess(row.reference, target) is None


def _is_longer(text: str, other: str) -> bool:
    """Return whether a text is more than twice as long as another, and by more than a few characters."""
    return _length(text) > 2 * _length(other) and _length(text) - _length(other) > _SLACK


def _length(text: str) -> int:
    return len("".join(text.split()))


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
