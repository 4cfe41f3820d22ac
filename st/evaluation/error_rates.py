"""Word and character error rates by jiwer, after a normalisation that the caller states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jiwer

from st.errors import EvaluationError
from st.evaluation.results import AsrResult
from st.evaluation.scores import checked_segments


def score_transcripts(
    hypotheses: Sequence[str], references: Sequence[str], *, normalise: Callable[[str], str], where: str
) -> AsrResult:
    """Score transcripts of one language: errors of all recordings over the length of all references.

    Args:
        hypotheses: Transcripts, one per recording; empty ones are kept.
        references: What was said, in the same order.
        normalise: Applied to both sides before they are compared.
        where: What is being scored, for messages.

    Raises:
        EvaluationError: If nothing is given, the counts differ, or no reference has any text after normalisation.
    """
    hypotheses, references = checked_segments(hypotheses, references)
    heard = [_squeeze(normalise(text)) for text in hypotheses]
    said = [_squeeze(normalise(text)) for text in references]
    num_words = sum(len(text.split()) for text in said)
    if num_words == 0:
        raise EvaluationError(
            f"{where}: none of the {len(said)} references has any text after normalisation, so error rates do not "
            "exist; check the src_text column and that the CTC vocabulary knows this language's letters"
        )
    words, characters = jiwer.process_words(said, heard), jiwer.process_characters(said, heard)
    return AsrResult(
        wer=100.0 * float(words.wer),
        cer=100.0 * float(characters.cer),
        n=len(said),
        num_words=num_words,
        num_characters=sum(len(text) for text in said),
        empty_references=sum(not text for text in said),
    )


def _squeeze(text: str) -> str:
    """One space between words: jiwer would count doubled ones as characters."""
    return " ".join(text.split())
