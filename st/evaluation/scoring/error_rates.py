"""Word and character error rates by jiwer, after a normalisation that the caller states."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import jiwer

from st.errors import EvaluationError
from st.evaluation.scoring.results import AsrResult
from st.evaluation.scoring.scores import checked_segments

logger = logging.getLogger(__name__)

NO_WORDS = "no word error rate of {}: written without spaces between words, so that a sentence would count as one word"
"""Said where a language has character errors only."""
NO_TRANSCRIPTS = "no error rates of {}: the column src_text has no text there, or none after normalisation"
"""Said where there is nothing to compare with, as in data that hold translations only."""


def score_transcripts(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    normalise: Callable[[str], str],
    where: str,
    spaced: bool = True,
) -> AsrResult:
    """Score transcripts of one language: errors of all recordings over the length of all references.

    Args:
        hypotheses: Transcripts, one per recording; empty ones are kept.
        references: What was said, in the same order.
        normalise: Applied to both sides before they are compared.
        where: What is being scored, for messages.
        spaced: Whether the language puts spaces between words; if not, there is no word error rate.

    Raises:
        EvaluationError: If nothing is given, the counts differ, or no reference has any text after normalisation.
    """
    hypotheses, references = checked_segments(hypotheses, references)
    heard = [_squeeze(normalise(text)) for text in hypotheses]
    said = [_squeeze(normalise(text)) for text in references]
    if not any(said):
        raise EvaluationError(
            f"{where}: none of the {len(said)} references has any text after normalisation, so error rates do not "
            "exist; check the src_text column and that the CTC vocabulary knows this language's letters"
        )
    empty = sum(not text for text in said)
    if empty:
        logger.warning(
            "%s: %d of %d references are empty after normalisation; all that is heard there counts as wrong",
            where,
            empty,
            len(said),
        )
    return AsrResult(
        wer=100.0 * float(jiwer.process_words(said, heard).wer) if spaced else None,
        cer=100.0 * float(jiwer.process_characters(said, heard).cer),
        n=len(said),
        num_words=sum(len(text.split()) for text in said) if spaced else None,
        num_characters=sum(len(text) for text in said),
        empty_references=empty,
    )


def _squeeze(text: str) -> str:
    """One space between words: jiwer would count doubled ones as characters."""
    return " ".join(text.split())
