"""The speakers of the sample corpus: eSpeak NG variants at different pitches and rates.

A speaker belongs to one split. Variants are held out too: nobody in train has the timbre of a speaker of dev or test,
though each of theirs lies within the range that train covers (no whisper, no robot).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from covost.sample.tables import table_rows
from st.data.manifest import SPLITS

_ROWS = table_rows("voices.tsv")
VARIANTS = {split: {variant: gender for where, variant, gender in _ROWS if where == split} for split in SPLITS}
"""Variant and gender, by split."""

HELD_OUT_VOICES: dict[str, int] = {"dev": 4, "test": 6}
"""Speakers of each held-out split, per language."""

_PITCHES = (50, 42, 58, 46, 54)
_RATES = (185, 172, 198, 178, 192)


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker."""

    variant: str
    """eSpeak NG's name of the timbre, e.g. ``f2``."""
    pitch: int
    """Of 0 to 99; 50 is the variant's own."""
    words_per_minute: int
    gender: str

    def client_id(self, language: str) -> str:
        """Return a Common Voice style identity: 128 hexadecimal digits."""
        identity = f"{language} {self.variant} {self.pitch} {self.words_per_minute}"
        return hashlib.sha512(identity.encode()).hexdigest()


def max_voices(split: str) -> int:
    """Return how many different speakers a split can have."""
    return len(VARIANTS[split]) * len(_PITCHES)


def voices(split: str, number: int) -> tuple[Voice, ...]:
    """Return the first ``number`` speakers of a split; a variant comes back at another pitch and rate.

    Raises:
        ValueError: If the split has fewer, see :func:`max_voices`.
    """
    if number > max_voices(split):
        raise ValueError(f"{split} has {max_voices(split)} voices, not {number}")
    variants = list(VARIANTS[split].items())
    made = []
    for index in range(number):
        turn, which = divmod(index, len(variants))
        variant, gender = variants[which]
        # Different strides, so that pitch and rate are not tied to each other.
        pitch = _PITCHES[(which + turn) % len(_PITCHES)]
        rate = _RATES[(2 * which + 3 * turn) % len(_RATES)]
        made.append(Voice(variant, pitch, rate, gender))
    return tuple(made)
