"""Does what a model wrote belong to the sound? Several signs together, none of which is enough by itself.

A decoder that has learned from speech writes fluent sentences for music and noise, too. Each sign below is weak: speakers do
repeat themselves, detectors miss whispers, and heads that hear badly are silent. Two of them are not seen where somebody
speaks, but where the text was made up. docs/long-recordings.md says how the thresholds were chosen.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from st.inference.results.decoded import DecodedUtterance
from st.text.repetition import UNSPACED, repeats
from st.text.scripts import letter_script

LEAST_SPEECH = 0.25
"""Mean probability of a segment, by a detector of speech, below which it counts as a sign."""
MOST_BLANK = 0.98
"""Mean probability of the CTC head's blank above which it heard nothing."""
MOST_CHARACTERS, MOST_SYLLABLES = 30.0, 12.0
"""Characters for each second, of letters, and of scripts in which one is a syllable or a word."""
LEAST_SCORE = -2.0
"""Mean log-probability of a token of the translation, by the model that wrote it."""
ENOUGH = 2
"""So many signs."""


def signs(decoded: DecodedUtterance, duration_s: float, speech: float | None) -> list[str]:
    """Return the signs that a text was made up.

    Args:
        decoded: What the model made of a segment.
        duration_s: Its length.
        speech: Mean probability of speech in it; None if nothing that can tell was asked.
    """
    texts = [decoded.transcript or "", *decoded.translations.values()]
    scores = [found[0].score for found in decoded.nbest.values() if found]
    found = {
        "no voice": speech is not None and speech < LEAST_SPEECH,
        "no letter": decoded.transcript == "" or (decoded.mean_blank or 0.0) > MOST_BLANK,
        "in circles": any(map(repeats, texts)),
        "too much text": any(_pace(text, duration_s) > 1 for text in texts),
        "unsure": bool(scores) and max(scores) < LEAST_SCORE,
    }
    return [name for name, seen in found.items() if seen]


def is_invented(decoded: DecodedUtterance, duration_s: float, speech: float | None) -> bool:
    """Return whether there are enough :func:`signs`; arguments as there."""
    return len(signs(decoded, duration_s, speech)) >= ENOUGH


def _pace(text: str, duration_s: float) -> float:
    """Return how many times as fast as the limit a text would have been said."""
    letters = list(_letters(text))
    syllables = sum(letter_script(letter) in UNSPACED for letter in letters)
    return ((len(letters) - syllables) / MOST_CHARACTERS + syllables / MOST_SYLLABLES) / max(duration_s, 0.1)


def _letters(text: str) -> Iterator[str]:
    return (character for character in text if unicodedata.category(character)[0] in "LN")
