"""What validation counts and how the counts of all batches and workers become WER, CER and BLEU."""

from __future__ import annotations

from typing import Any

import jiwer
import torch
from fairseq.logging import metrics
from sacrebleu.metrics import BLEU
from torch import Tensor

from st.modules.config import CTC
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.languages import language

MAX_NGRAM = 4


def ctc_error_counts(
    logits: Tensor, lengths: Tensor, transcripts: list[str], spoken: list[str], ctc: CtcVocabulary
) -> dict[str, int]:
    """Count word and character errors of greedy CTC decoding.

    Args:
        logits: ``(N, S, C)``.
        lengths: Valid frames ``(N,)``.
        transcripts: N texts.
        spoken: N languages; words are not counted of those written without spaces.
        ctc: The vocabulary, whose normalisation applies to both sides.
    """
    best = logits.argmax(-1).cpu()
    counts = dict.fromkeys(("word_errors", "words", "char_errors", "chars"), 0)
    for labels, length, transcript, code in zip(best, lengths.tolist(), transcripts, spoken, strict=True):
        reference = ctc.spell(transcript, code)
        if not reference:
            continue
        hypothesis = ctc.decode(labels[:length].tolist())
        for unit, process in (("word", jiwer.process_words), ("char", jiwer.process_characters)):
            if unit == "word" and not language(code).spaced:
                continue
            result = process(reference, hypothesis)
            counts[f"{unit}_errors"] += result.substitutions + result.deletions + result.insertions
            counts[f"{unit}s"] += result.hits + result.substitutions + result.deletions
    return counts


def bleu_counts(
    hypotheses: list[str], references: list[str], directions: list[str], all_directions: list[str]
) -> dict[str, Tensor]:
    """Return sufficient statistics of BLEU as ``bleu/<direction>`` → system length, reference length, matches, totals.

    Every one of ``all_directions`` has an entry, zeros where the batch holds none of it: workers add their counts up.
    """
    counts: dict[str, Tensor] = {}
    for direction in all_directions:
        rows = [n for n, other in enumerate(directions) if other == direction]
        numbers = torch.zeros(2 + 2 * MAX_NGRAM, dtype=torch.long)
        if rows:
            bleu = BLEU(tokenize=language(direction.split("_")[1]).bleu_tokenizer)
            score = bleu.corpus_score([hypotheses[n] for n in rows], [[references[n] for n in rows]])
            numbers = torch.tensor([score.sys_len, score.ref_len, *score.counts, *score.totals])
        counts[f"bleu/{direction}"] = numbers
    return counts


def _bleu(counts: Tensor) -> float:
    numbers = [int(number) for number in counts]
    sys_len, ref_len = numbers[:2]
    correct, total = numbers[2 : 2 + MAX_NGRAM], numbers[2 + MAX_NGRAM :]
    score = BLEU.compute_bleu(correct=correct, total=total, sys_len=sys_len, ref_len=ref_len, smooth_method="exp")
    return float(score.score)


def reduce_bleu(logging_outputs: list[dict[str, Any]]) -> None:
    """Log BLEU of each direction and, under ``bleu``, the average of those that were scored; nothing if none was."""
    names = sorted({key for log in logging_outputs for key in log if key.startswith("bleu/")})
    totals = {
        name: torch.stack([log[name].cpu().double() for log in logging_outputs if name in log]).sum(0) for name in names
    }
    scored = {name: numbers for name, numbers in totals.items() if numbers[1] > 0}
    for name, numbers in scored.items():
        metrics.log_scalar_sum(f"_{name}", numbers)  # a leading underscore keeps it out of the log
        metrics.log_derived(f"bleu_{name[5:]}", lambda meters, key=f"_{name}": round(_bleu(meters[key].sum), 2))
    if scored:
        metrics.log_derived("bleu", _average_bleu)


def _average_bleu(meters: Any) -> float:
    scores = [_bleu(meter.sum) for key, meter in meters.items() if key.startswith("_bleu/")]
    return round(sum(scores) / len(scores), 2)


def reduce_error_rates(logging_outputs: list[dict[str, Any]], heads: list[str]) -> None:
    """Log WER and CER of heads, in percent: those of ``ctc`` as ``wer`` and ``cer``, of others after their names."""
    for head in heads:
        for rate, unit in (("wer", "word"), ("cer", "char")):
            total = sum(log.get(f"{head}_{unit}s", 0) for log in logging_outputs)
            if total:
                errors = sum(log.get(f"{head}_{unit}_errors", 0) for log in logging_outputs)
                metrics.log_scalar(rate if head == CTC else f"{head}_{rate}", 100.0 * errors / total, total, round=2)
