"""Translation scores by sacreBLEU: BLEU, chrF++ and TER, each with its signature."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics import BLEU, CHRF, TER

from st.data.languages import language
from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.evaluation.results import DirectionResult, MetricScore

OTHER_TOKENIZERS: dict[str, tuple[str, ...]] = {"zh-CN": ("zh",), "ja": ("ja-mecab",)}
"""Tokenizers reported beside the papers' convention, by target language."""

_UNSEGMENTED_SCRIPTS = ("Hans", "Jpan")


def score_translations(target: str, hypotheses: Sequence[str], references: Sequence[str]) -> DirectionResult:
    """Score one direction against one reference per segment.

    Args:
        target: CoVoST code of the target language; it decides the tokenizer.
        hypotheses: Detokenised translations, one per segment; empty ones are kept.
        references: References in the same order.

    Raises:
        EvaluationError: If nothing is given, the counts differ, an argument is not a flat list of texts, or a
            tokenizer's package is missing.
        UsageError: If ``target`` is not a language of CoVoST 2.
    """
    tokenizer = language(target).bleu_tokenizer
    hypotheses, references = checked_segments(hypotheses, references)
    return DirectionResult(
        bleu=corpus_bleu(hypotheses, references, tokenizer),
        chrf=_score(CHRF(word_order=2), hypotheses, references),
        ter=corpus_ter(target, hypotheses, references),
        n=len(references),
        empty_hypotheses=sum(not text.strip() for text in hypotheses),
        other_bleu={name: corpus_bleu(hypotheses, references, name) for name in OTHER_TOKENIZERS.get(target, ())},
    )


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], tokenizer: str) -> MetricScore:
    """Compute cased corpus BLEU with one of sacreBLEU's tokenizers.

    Raises:
        EvaluationError: If the tokenizer is unknown or its package is not installed.
    """
    try:
        metric = BLEU(tokenize=tokenizer)
    except (ImportError, RuntimeError, AssertionError, ValueError) as error:
        raise EvaluationError(
            f"sacreBLEU's tokenizer {tokenizer!r} is not available ({error}); install it with: pip install 'sacrebleu[ja]'"
        ) from error
    return _score(metric, hypotheses, references)


def corpus_ter(target: str, hypotheses: Sequence[str], references: Sequence[str]) -> MetricScore:
    """Compute TER; scripts written without spaces are split into characters first, as the signature says."""
    unsegmented = language(target).script in _UNSEGMENTED_SCRIPTS
    return _score(TER(normalized=unsegmented, asian_support=unsegmented), hypotheses, references)


def sentence_chrf(hypothesis: str, reference: str) -> float:
    """Return chrF++ of one segment, to rank examples; it is no corpus score."""
    return float(_SENTENCE_CHRF.sentence_score(clean_field(hypothesis), [clean_field(reference)]).score)


_SENTENCE_CHRF = CHRF(word_order=2)


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


def _score(metric: BLEU | CHRF | TER, hypotheses: Sequence[str], references: Sequence[str]) -> MetricScore:
    score = metric.corpus_score(list(hypotheses), [list(references)])
    return MetricScore(value=float(score.score), signature=str(metric.get_signature()))
