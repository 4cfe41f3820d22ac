"""What a :class:`st.inference.Translator` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from st.inference.alignment.word_times import TimedText
from st.text.repetition import repeats

REASONS: dict[str, str] = {
    "empty_audio": "it holds no samples",
    "too_short": "it is shorter than one frame of the encoder",
    "silent": "nothing in it can be heard",
    "no_speech": "nobody speaks in it",
}
"""Why a recording has no text, and what to call that."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One hypothesis as text."""

    text: str
    score: float
    """Length-normalised log-probability, as :class:`Hypothesis`."""
    truncated: bool
    """Whether the length limit cut it off."""
    tokens: tuple[int, ...] = ()
    """As :class:`Hypothesis`."""
    pieces: tuple[str, ...] = ()
    """The same as pieces of the vocabulary, and the end of sentence last."""
    piece_scores: tuple[float, ...] = ()
    """Log-probability of every piece, by the model that translated."""

    @property
    def repetition(self) -> bool:
        """Whether the text goes in circles; see :func:`st.text.repetition.repeats`."""
        return repeats(self.text)


@dataclass(frozen=True, slots=True)
class DecodedUtterance:
    """What the model made of one recording."""

    transcript: str | None
    """What the CTC head heard; None if the model has no such head."""
    translations: Mapping[str, str]
    """The best translation by target language (as asked for)."""
    nbest: Mapping[str, Sequence[Translation]] = field(default_factory=dict)
    """All translations asked for, best first."""
    reason: str | None = None
    """Why there is no text, one of :data:`REASONS`; None otherwise."""
    words: Sequence[TimedText] | None = None
    """When each word of the transcript was said; None if that was not asked for."""
    truncated: bool = False
    """Whether the length limit cut the transcript off; the translations say it of themselves."""
    mean_blank: float | None = None
    """Mean probability of the CTC head's blank over its frames; None without such a head."""
    alternatives: tuple[str, ...] = ()
    """Less probable transcripts of a prefix search that was asked for several, best first."""

    language: str | None = None
    """What is spoken, where the model chose it among several languages (code)."""
    language_probability: float | None = None
    """How sure it is of that; see :class:`st.inference.transcription.spoken_language.Spoken`."""

    @property
    def repetition(self) -> bool:
        """Whether the transcript goes in circles; the translations say it of themselves."""
        return repeats(self.transcript or "")
