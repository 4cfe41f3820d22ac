"""fairseq criterion ``translation_ctc``: label-smoothed cross-entropy of the decoder plus CTC of the encoder.

Legend: N utterances, S frames, C labels, R targets, U target tokens, V vocabulary.
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from st.criterions.validation import ctc_error_counts, reduce_bleu, reduce_error_rates
from st.modules.ctc_head import ctc_loss

logger = logging.getLogger(__name__)


@dataclass
class TranslationCtcConfig(FairseqDataclass):
    """Weights of the two objectives."""

    label_smoothing: float = field(default=0.1, metadata={"help": "label smoothing of the cross-entropy"})
    translation_weight: float = field(
        default=1.0, metadata={"help": "weight of the decoder's cross-entropy; 0 trains the encoder by CTC alone"}
    )
    ctc_weight: float = field(
        default=0.3, metadata={"help": "weight of the encoder's CTC loss; 0 trains translation alone"}
    )


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float, pad: int) -> tuple[Tensor, Tensor]:
    """Return label-smoothed loss and plain negative log-likelihood, summed over tokens, in nats.

    The smoothed loss is fairseq's: ``(1 - e - e/(V-1)) * nll + e/(V-1) * sum over V``.

    Args:
        logits: ``(R, U, V)``.
        target: ``(R, U)``, padded with ``pad``.
        smoothing: Probability mass given to the other tokens.
        pad: Index that does not count.
    """
    log_probs = F.log_softmax(logits.float(), dim=-1)
    valid = target.ne(pad)
    nll = -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)[valid].sum()
    if smoothing == 0:
        return nll, nll
    spread = -log_probs.sum(-1)[valid].sum()
    share = smoothing / (log_probs.size(-1) - 1)
    return (1.0 - smoothing - share) * nll + share * spread, nll


@register_criterion("translation_ctc", dataclass=TranslationCtcConfig)
class TranslationCtcCriterion(FairseqCriterion):
    """Per-token cross-entropy and per-label CTC, weighted."""

    def __init__(self, task: Any, label_smoothing: float, translation_weight: float, ctc_weight: float) -> None:
        super().__init__(task)
        self.label_smoothing = label_smoothing
        self.translation_weight = translation_weight
        self.ctc_weight = ctc_weight

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            Loss summed over ``sample_size`` units, ``sample_size`` (target tokens; labels when CTC is alone), and
            numbers to log. CTC counts per label: its sum is scaled by tokens per label to share the unit.
        """
        training = model.training
        translate = self.translation_weight > 0
        # In validation the head is always run: its error rates are reported.
        transcribe = self.ctc_weight > 0 or not training
        output = model(**sample["net_input"], translate=translate, transcribe=transcribe)
        labels = int(sample["ctc_lengths"].sum())
        sample_size = sample["ntokens"] if translate else labels
        log: dict[str, Any] = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "labels": labels}
        loss = output["states"].new_zeros((), dtype=torch.float32)
        if translate:
            smoothed, nll = smoothed_cross_entropy(
                output["logits"], sample["target"], self.label_smoothing, self.task.text.pad
            )
            loss = loss + self.translation_weight * smoothed
            log |= {"translation_loss": smoothed.detach(), "nll_loss": nll.detach()}
            correct = output["logits"].argmax(-1).eq(sample["target"]) & sample["target"].ne(self.task.text.pad)
            log["correct"] = int(correct.sum())
        if transcribe:
            losses = ctc_loss(output["ctc_logits"], output["frames"], sample["ctc_targets"], sample["ctc_lengths"])
            log["ctc_loss"] = losses.detach().sum()
            log["ctc_too_long"] = int((sample["ctc_lengths"] > output["frames"]).sum())
            if self.ctc_weight > 0:
                loss = loss + self.ctc_weight * losses.sum() * (sample_size / max(labels, 1))
            if not training:
                log |= ctc_error_counts(output["ctc_logits"], output["frames"], sample["transcripts"], self.task.ctc)
        log |= {"loss": loss.detach(), "sample_size": sample_size}
        return loss, sample_size, log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Combine the logs of all workers; losses are shown in nats per token or label."""

        def total(key: str) -> float:
            return float(sum(float(log.get(key, 0)) for log in logging_outputs))

        sample_size, tokens, labels = total("sample_size"), total("ntokens"), total("labels")
        metrics.log_scalar("loss", total("loss") / max(sample_size, 1), sample_size, round=4)
        if any("nll_loss" in log for log in logging_outputs):
            metrics.log_scalar("nll_loss", total("nll_loss") / max(tokens, 1), tokens, round=4)
            metrics.log_derived("ppl", lambda meters: math.exp(min(meters["nll_loss"].avg, 50.0)))
            metrics.log_scalar("accuracy", 100.0 * total("correct") / max(tokens, 1), tokens, round=2)
        if any("ctc_loss" in log for log in logging_outputs):
            metrics.log_scalar("ctc_loss", total("ctc_loss") / max(labels, 1), labels, round=4)
            if total("ctc_too_long"):
                metrics.log_scalar("ctc_too_long", total("ctc_too_long"), 1, round=0)
        reduce_error_rates(logging_outputs)
        reduce_bleu(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logs have the same keys and add up."""
        return True
