"""Scores of corpora: BLEU, chrF++ and TER by sacreBLEU, with signatures and intervals; error rates by jiwer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import jiwer
from sacrebleu.metrics import BLEU, CHRF, TER

from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.evaluation.scoring.conventions import TRUE_CASE, Convention
from st.evaluation.scoring.resampling import confidence_intervals
from st.evaluation.scoring.results import MAIN_METRICS, AsrResult, DirectionResult
from st.evaluation.scoring.statistics import Metric, Statistics, extract
from st.text.languages import language

logger = logging.getLogger(__name__)

OTHER_TOKENIZERS: dict[str, tuple[str, ...]] = {"zh-CN": ("zh",), "zh-TW": ("zh",), "ja": ("ja-mecab",)}
"""Tokenizers reported beside the papers' convention, by target language."""
NO_WORDS = "no word error rate of {}: written without spaces between words, so that a sentence would count as one word"
"""Said where a language has character errors only."""
NO_TRANSCRIPTS = "no error rates of {}: the column src_text has no text there, or none after normalisation"
"""Said where there is nothing to compare with, as in data that hold translations only."""


def score_translations(
    target: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    where: str = "the corpus",
    convention: Convention = TRUE_CASE,
) -> DirectionResult:
    """Score one direction against one reference per segment.

    Args:
        target: Code of the target language; it decides the tokenizer.
        hypotheses: Detokenised translations, one per segment; empty ones are kept.
        references: References in the same order.
        where: What is being scored, for messages.
        convention: What is compared.

    Raises:
        EvaluationError: If nothing is given, the counts differ, an argument is not a flat list of texts, all references
            are empty, or a tokenizer's package is missing.
        UsageError: If ``target`` is not the code of a language.
    """
    statistics = translation_statistics(target, hypotheses, references, convention)
    hypotheses, references = convention.prepare(hypotheses), convention.prepare(references)
    check_references(references, where=where)
    return summarise(statistics, hypotheses, references)


def check_references(references: Sequence[str], *, where: str) -> None:
    """Warn of references without any text, which no translation can match.

    Raises:
        EvaluationError: If all of them are so.
    """
    empty = sum(not text.strip() for text in references)
    if empty == len(references):
        raise EvaluationError(
            f"{where}: none of the {empty} references has any text, so that there is nothing to score against; check the "
            "file or the column tgt_text"
        )
    if empty:
        logger.warning(
            "%s: %d of %d references are empty; all that is said there counts as wrong", where, empty, len(references)
        )


def translation_statistics(
    target: str, hypotheses: Sequence[str], references: Sequence[str], convention: Convention = TRUE_CASE
) -> dict[str, Statistics]:
    """Extract the statistics of all metrics of a target language: ``bleu chrf ter``, then further tokenizers.

    Both sides are prepared as the convention says.

    Raises:
        EvaluationError: As for :func:`score_translations`.
        UsageError: As for :func:`score_translations`.
    """
    hypotheses, references = map(convention.prepare, checked_segments(hypotheses, references))
    found = {name: extract(metric, hypotheses, references) for name, metric in metrics_for(target, convention).items()}
    return {name: replace(item, signature=convention.sign(item.signature)) for name, item in found.items()}


def summarise(
    statistics: Mapping[str, Statistics], hypotheses: Sequence[str], references: Sequence[str]
) -> DirectionResult:
    """Turn the statistics of a direction into its scores, with their confidence intervals.

    Args:
        statistics: From :func:`translation_statistics`.
        hypotheses: As they were compared, see :meth:`st.evaluation.scoring.conventions.Convention.prepare`.
        references: As they were compared.
    """
    scores = {name: item.corpus() for name, item in statistics.items()}
    intervals = confidence_intervals(list(statistics.values()))
    return DirectionResult(
        bleu=scores["bleu"],
        chrf=scores["chrf"],
        ter=scores["ter"],
        n=len(references),
        empty_hypotheses=sum(not text.strip() for text in hypotheses),
        empty_references=sum(not text.strip() for text in references),
        other_bleu={name: score for name, score in scores.items() if name not in MAIN_METRICS},
        intervals=dict(zip(statistics, intervals, strict=True)),
        length_ratio=length_ratio(hypotheses, references),
    )


def metrics_for(target: str, convention: Convention = TRUE_CASE) -> dict[str, Metric]:
    """Return the metrics of a target language: ``bleu chrf ter``, then BLEU with further tokenizers by their names.

    Raises:
        EvaluationError: If a tokenizer's package is not installed.
        UsageError: If ``target`` is not the code of a language.
    """
    known = language(target)
    small = convention.lowercase
    return {
        "bleu": bleu_metric(known.bleu_tokenizer, lowercase=small),
        "chrf": CHRF(word_order=2, lowercase=small),
        # Scripts written without spaces are split into characters first, as the signature says.
        "ter": TER(normalized=not known.spaced, asian_support=not known.spaced),
        **{name: bleu_metric(name, lowercase=small) for name in OTHER_TOKENIZERS.get(known.code, ())},
    }


def bleu_metric(tokenizer: str, *, lowercase: bool = False) -> BLEU:
    """Return corpus BLEU with one of sacreBLEU's tokenizers, cased unless asked otherwise.

    Raises:
        EvaluationError: If the tokenizer is unknown or its package is not installed.
    """
    try:
        return BLEU(tokenize=tokenizer, lowercase=lowercase)
    except (ImportError, RuntimeError, AssertionError, ValueError) as error:
        raise EvaluationError(
            f"sacreBLEU's tokenizer {tokenizer!r} is not available ({error}); install it with: pip install 'sacrebleu[ja]'"
        ) from error


def length_ratio(hypotheses: Sequence[str], references: Sequence[str]) -> float | None:
    """Return the characters of all hypotheses over those of all references, spaces not counted."""
    said, expected = (sum(len("".join(text.split())) for text in texts) for texts in (hypotheses, references))
    return said / expected if expected else None


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """Return chrF++ of one segment, to rank examples; it is no corpus score."""
    return float(_SENTENCE_CHRF.sentence_score(clean_field(hypothesis), [clean_field(reference)]).score)


_SENTENCE_CHRF = CHRF(word_order=2)


def score_transcripts(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    normalise: Callable[[str], str],
    where: str,
    spaced: bool = True,
) -> AsrResult:
    """Score transcripts of one language by jiwer: errors of all recordings over the length of all references.

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


def checked_segments(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
    """Check two parallel lists of texts, and make every text one line.

    Raises:
        EvaluationError: If either is empty, their lengths differ, or one is not a flat list of texts.
    """
    for name, texts in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise EvaluationError(f"{name} must be one flat list of texts, one reference per segment")
    if len(hypotheses) != len(references):
        raise EvaluationError(f"{len(hypotheses)} hypotheses for {len(references)} references; expected one for each")
    if not references:
        raise EvaluationError("nothing to score: the corpus is empty")
    return [clean_field(text) for text in hypotheses], [clean_field(text) for text in references]
