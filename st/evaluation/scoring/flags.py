"""Signs that a hypothesis is no translation: found without a model, counted per direction, marked on examples.

Each sign is measured against the reference, so that a reference which repeats itself, or a name that is the same in
both languages, raises none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from st.evaluation.scoring.hypotheses import HypothesisRow
from st.evaluation.scoring.language_id import LanguageGuesser
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
