"""fairseq criterion ``translation_ctc``: label-smoothed cross-entropy of the decoder plus CTC of the encoder.

Legend: N utterances, S frames, C labels, R targets, U target tokens, V vocabulary.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from st.errors import ConfigError
from st.fairseq_plugin.missing_transcripts import report_missing_transcripts
from st.fairseq_plugin.nonfinite import check_loss
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.validation import ctc_error_counts, reduce_bleu, reduce_error_rates
from st.kernels.cross_entropy import smoothed_cross_entropy
from st.modules.ctc_head import ctc_loss, required_frames
from st.options import option

logger = logging.getLogger(__name__)


@dataclass
class TranslationCtcConfig(FairseqDataclass):
    """Weights of the two objectives, and what is added to them."""

    label_smoothing: float = option(0.1, "label smoothing of the cross-entropy")
    translation_weight: float = option(1.0, "weight of the decoder's cross-entropy; 0 trains the encoder by CTC alone")
    ctc_weight: float = option(0.3, "weight of the encoder's CTC loss; 0 trains translation alone")
    ctc_weight_warmup_updates: int = option(
        0, "updates over which the weight of the CTC loss grows linearly to --ctc-weight"
    )
    rdrop_alpha: float = option(
        0.0, "weight of R-Drop: each batch is computed twice and both translations are drawn together"
    )


def check_weights(cfg: Any) -> None:
    """Refuse weights that make no objective.

    Raises:
        ConfigError: The message names the options.
    """
    for name in ("translation_weight", "ctc_weight", "ctc_weight_warmup_updates", "rdrop_alpha"):
        if not 0 <= getattr(cfg, name) < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}; expected 0 or more")
    if not 0 <= cfg.label_smoothing < 1:
        raise ConfigError(f"--label-smoothing is {cfg.label_smoothing}; expected a number from 0 up to 1")
    if cfg.translation_weight == 0 and cfg.ctc_weight == 0:
        raise ConfigError("--translation-weight and --ctc-weight are both 0: there is nothing to learn")
    if cfg.rdrop_alpha and cfg.translation_weight == 0:
        raise ConfigError("--rdrop-alpha compares translations; it excludes --translation-weight 0")


def symmetric_divergence(logits: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Return half of KL(p||q) + KL(q||p), summed over the valid tokens, in nats.

    Args:
        logits: Of p, ``(R, U, V)``.
        other: Of q, ``(R, U, V)``.
        valid: Boolean ``(R, U)``.
    """
    log_p, log_q = (F.log_softmax(each[valid].float(), dim=-1) for each in (logits, other))
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()


@register_criterion("translation_ctc", dataclass=TranslationCtcConfig)
class TranslationCtcCriterion(FairseqCriterion):
    """Per-token cross-entropy and per-label CTC, weighted."""

    def __init__(
        self,
        task: Any,
        label_smoothing: float,
        translation_weight: float,
        ctc_weight: float,
        ctc_weight_warmup_updates: int = 0,
        rdrop_alpha: float = 0.0,
    ) -> None:
        super().__init__(task)
        self.label_smoothing = label_smoothing
        self.translation_weight = translation_weight
        self.ctc_weight = ctc_weight
        self.ctc_weight_warmup_updates = ctc_weight_warmup_updates
        self.rdrop_alpha = rdrop_alpha
        self._looked_for_transcripts = False

    @classmethod
    @clear_errors
    def build_criterion(cls, cfg: Any, task: Any) -> "TranslationCtcCriterion":
        """Build from options; called by fairseq."""
        check_weights(cfg)
        return super().build_criterion(cfg, task)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            Loss summed over ``sample_size`` units, ``sample_size`` (target tokens; labels when CTC is alone), and
            numbers to log; counts made on the device stay tensors, so that nothing waits for them. CTC counts per label:
            its sum is scaled by tokens per label to share the unit.
        """
        training = model.training
        translate = self.translation_weight > 0
        if training and self.ctc_weight > 0 and not self._looked_for_transcripts:
            report_missing_transcripts(self.task, translate)
            self._looked_for_transcripts = True
        # In validation the head is always run: its error rates are reported.
        transcribe = self.ctc_weight > 0 or not training
        copies = 2 if training and self.rdrop_alpha > 0 else 1
        twice = {"copies": copies} if copies > 1 else {}
        output = model(**sample["net_input"], translate=translate, transcribe=transcribe, **twice)
        labels = sample["nlabels"]
        sample_size = sample["ntokens"] if translate else labels
        log: dict[str, Any] = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "labels": labels}
        loss = output["states"].new_zeros((), dtype=torch.float32)
        if translate:
            loss = loss + self.translation_weight * self._translation_loss(output["logits"], sample, copies, log)
        if transcribe:
            losses = self._ctc_losses(output, sample, copies, log)
            if self.ctc_weight > 0:
                weight = self._present_ctc_weight(model)
                loss = loss + weight * losses.sum() / copies * (sample_size / max(labels, 1))
            if not training:
                texts = sample["transcripts"], sample["spoken"]
                log |= ctc_error_counts(output["ctc_logits"], output["frames"], *texts, self.task.ctc)
        log |= {"loss": loss.detach(), "sample_size": sample_size}
        return loss, sample_size, check_loss(loss, self.task, sample, log) if training else log

    def _translation_loss(self, logits: Tensor, sample: dict[str, Any], copies: int, log: dict[str, Any]) -> Tensor:
        """Return the loss of the decoder: the mean over copies, and R-Drop's divergence (Wu et al. 2021) if asked for.

        The paper adds up the losses of both passes and ``alpha`` times the mean of both divergences; this is half of
        that, so that the loss keeps the scale of a single pass.
        """
        target = sample["target"]
        pad = self.task.text.pad
        smoothed, nll = smoothed_cross_entropy(logits, target.repeat(copies, 1), self.label_smoothing, pad)
        correct = logits[: len(target)].argmax(-1).eq(target) & target.ne(pad)
        log |= {"translation_loss": smoothed.detach() / copies, "nll_loss": nll.detach() / copies}
        log["correct"] = correct.sum()
        loss = smoothed / copies
        if copies == 2:
            first, second = logits.chunk(2)
            divergence = symmetric_divergence(first, second, target.ne(pad))
            log["rdrop_loss"] = divergence.detach()
            loss = loss + 0.5 * self.rdrop_alpha * divergence
        return loss

    def _ctc_losses(
        self, output: dict[str, Tensor], sample: dict[str, Any], copies: int, log: dict[str, Any]
    ) -> Tensor:
        """Return the CTC loss of every utterance of every copy; 0 without a transcript, which is not one of silence."""
        targets, lengths = sample["ctc_targets"].repeat(copies, 1), sample["ctc_lengths"].repeat(copies)
        missing = lengths == 0
        losses = ctc_loss(output["ctc_logits"], output["frames"], targets, lengths).masked_fill(missing, 0.0)
        log["ctc_loss"] = losses.detach().sum() / copies
        log["ctc_too_long"] = (required_frames(targets, lengths) > output["frames"]).sum() // copies
        log["ctc_empty"] = missing.sum() // copies
        return losses

    def _present_ctc_weight(self, model: Any) -> float:
        if not model.training or not self.ctc_weight_warmup_updates:
            return self.ctc_weight
        return self.ctc_weight * min(1.0, (model.num_updates + 1) / self.ctc_weight_warmup_updates)

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
        if labels and any("ctc_loss" in log for log in logging_outputs):
            metrics.log_scalar("ctc_loss", total("ctc_loss") / labels, labels, round=4)
        for name in ("ctc_too_long", "ctc_empty"):
            if total(name):
                metrics.log_scalar_sum(name, total(name))
        if any("rdrop_loss" in log for log in logging_outputs):
            metrics.log_scalar("rdrop_loss", total("rdrop_loss") / max(tokens, 1), tokens, round=4)
        if total("nonfinite"):
            metrics.log_scalar_sum("nonfinite_batches", total("nonfinite"))
        reduce_error_rates(logging_outputs)
        reduce_bleu(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logs have the same keys and add up."""
        return True
