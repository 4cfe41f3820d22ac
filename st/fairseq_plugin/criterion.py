"""fairseq criterion ``translation_ctc``: label-smoothed cross-entropy of the decoder plus the losses of heads, as CTC.

Legend: N utterances, S frames, C labels, R targets, U target tokens, V vocabulary.
"""

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Optional

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from st.errors import ConfigError
from st.fairseq_plugin.missing_transcripts import report_missing_texts
from st.fairseq_plugin.nonfinite import check_loss
from st.fairseq_plugin.options import parse_named_numbers
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.validation import ctc_error_counts, reduce_bleu, reduce_error_rates
from st.kernels.cross_entropy import smoothed_cross_entropy
from st.modules.config import CTC
from st.modules.label_adaptor import change_labels
from st.options import option
from st.text.vocabulary import EOS, PAD

logger = logging.getLogger(__name__)

HEAD_WEIGHT = 0.3
"""Weight of the loss of a head, unless an option says another."""


@dataclass
class TranslationCtcConfig(FairseqDataclass):
    """Weights of the objectives, and what is added to them."""

    label_smoothing: float = option(0.1, "label smoothing of the cross-entropy")
    translation_weight: float = option(1.0, "weight of the decoder's cross-entropy; 0 trains the encoder by CTC alone")
    ctc_weight: float = option(HEAD_WEIGHT, "weight of the encoder's CTC loss; 0 trains translation alone")
    head_weights: Optional[str] = option(
        None, f"weights of the losses of the other heads of config.yaml, as phones=0.3; {HEAD_WEIGHT} for one not named"
    )
    ctc_weight_warmup_updates: int = option(
        0, "updates over which the weight of the CTC loss grows linearly to --ctc-weight"
    )
    transcript_weight: float = option(
        0.0,
        "weight of the decoder's cross-entropy when it reads the transcript in the place of the recording; needs "
        "--length-adaptor-text-layers",
    )
    transcript_noise: float = option(
        0.15, "share of the labels of such a transcript that are replaced, dropped or added, as a recogniser does"
    )
    rdrop_alpha: float = option(
        0.0, "weight of R-Drop: each batch is computed twice and both translations are drawn together"
    )


def weights_of_heads(cfg: Any, heads: Collection[str]) -> dict[str, float]:
    """Return the weight of each head's loss.

    Raises:
        ConfigError: If ``--head-weights`` is malformed or names another head.
    """
    others = [name for name in heads if name != CTC]
    given = parse_named_numbers("--head-weights", cfg.head_weights, others)
    return dict.fromkeys(heads, HEAD_WEIGHT) | ({CTC: cfg.ctc_weight} if CTC in heads else {}) | given


def check_weights(cfg: Any, heads: Collection[str] = (CTC,)) -> None:
    """Refuse weights that make no objective for a model with these heads.

    Raises:
        ConfigError: The message names the options.
    """
    for name in ("translation_weight", "ctc_weight", "ctc_weight_warmup_updates", "transcript_weight", "rdrop_alpha"):
        if not 0 <= getattr(cfg, name) < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}; expected 0 or more")
    if not 0 <= cfg.label_smoothing < 1:
        raise ConfigError(f"--label-smoothing is {cfg.label_smoothing}; expected a number from 0 up to 1")
    if not 0 <= cfg.transcript_noise <= 1:
        raise ConfigError(f"--transcript-noise is {cfg.transcript_noise}; expected 0 to 1")
    if not cfg.translation_weight and not cfg.transcript_weight and not any(weights_of_heads(cfg, heads).values()):
        raise ConfigError("--translation-weight and --ctc-weight are both 0: there is nothing to learn")
    if cfg.rdrop_alpha and cfg.translation_weight == 0:
        raise ConfigError("--rdrop-alpha compares translations; it excludes --translation-weight 0")


def refuse_crops_of_texts(cfg: Any, task: Any) -> None:
    """Refuse to crop recordings of which all that is said is to be written down.

    Raises:
        ConfigError: The message names the options.
    """
    if not getattr(getattr(task, "cfg", None), "crop_seconds", 0):
        return
    weights = weights_of_heads(cfg, task.labels)
    writing = [name for name, weight in weights.items() if weight and task.kinds[name].spells]
    if cfg.translation_weight or writing:
        what = "the decoder" if cfg.translation_weight else f"the head {writing[0]}"
        raise ConfigError(
            f"--crop-seconds cuts recordings, and {what} is to write all that is said in them; crop for heads that classify "
            "alone: --translation-weight 0, --ctc-weight 0 or --heads"
        )


def below(first: Tensor, second: Tensor, padding: int) -> Tensor:
    """Return one table below the other, the narrower filled up with ``padding``."""
    width = max(first.size(1), second.size(1))
    return torch.cat([F.pad(part, (0, width - part.size(1)), value=padding) for part in (first, second)])


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
    """Per-token cross-entropy and per-label losses of heads, weighted."""

    def __init__(self, cfg: Any, task: Any) -> None:
        super().__init__(task)
        self.label_smoothing: float = cfg.label_smoothing
        self.translation_weight: float = cfg.translation_weight
        self.weights = weights_of_heads(cfg, task.labels)
        self.ctc_weight_warmup_updates: int = cfg.ctc_weight_warmup_updates
        self.rdrop_alpha: float = cfg.rdrop_alpha
        self.transcript_weight: float = cfg.transcript_weight
        self.transcript_noise: float = cfg.transcript_noise
        self._looked_for_texts = False

    @classmethod
    @clear_errors
    def build_criterion(cls, cfg: Any, task: Any) -> "TranslationCtcCriterion":
        """Build from options; called by fairseq."""
        check_weights(cfg, task.labels)
        refuse_crops_of_texts(cfg, task)
        decoding = {"translation": cfg.translation_weight, "transcript": cfg.transcript_weight}
        if any(decoding.values()) and task.text is None:
            name, weight = max(decoding.items(), key=lambda item: item[1])
            raise ConfigError(
                f"--{name}-weight is {weight:g}, and the data have no "
                f"{' and no '.join(task.data_config.text_files)} for a decoder; train the heads alone with "
                "--translation-weight 0, or prepare the data with a text vocabulary"
            )
        return cls(cfg, task)

    @property
    def learning_heads(self) -> list[str]:
        """Heads whose loss counts."""
        return [name for name, weight in self.weights.items() if weight > 0]

    @property
    def resting_heads(self) -> dict[str, str]:
        """Heads whose loss does not count, each with the option that says so."""
        names = [name for name, weight in self.weights.items() if weight == 0]
        return {name: "--ctc-weight 0" if name == CTC else f"--head-weights {name}=0" for name in names}

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            Loss summed over ``sample_size`` units, ``sample_size`` (target tokens, and the labels of utterances without a
            target; labels of all when heads are alone), and numbers to log; counts made on the device stay tensors, so
            that nothing waits for them. A head counts per label: its sum is scaled by units per label to share the unit.
        """
        training = model.training
        reads = self.transcript_weight > 0
        translate = self.translation_weight > 0 or (reads and not training)
        if training and not self._looked_for_texts:
            report_missing_texts(self.task, translate, self.learning_heads)
            self._looked_for_texts = True
        # In validation every head is run: its error rates are reported.
        heads = self.learning_heads if training else list(self.weights)
        copies = 2 if training and self.rdrop_alpha > 0 else 1
        twice = {"copies": copies} if copies > 1 else {}
        read = {}
        if training and reads:
            labels, lengths, target = self._reading(sample)
            read["transcripts"] = (labels, lengths, target.roll(1, 1).index_fill(1, target.new_zeros(1), EOS))
        output = model(**sample["net_input"], translate=translate, heads=heads, **twice, **read)
        sample_size = self._sample_size(sample, translate or bool(read))
        log: dict[str, Any] = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"]}
        loss = output["states"].new_zeros((), dtype=torch.float32)
        if translate:
            loss = loss + self.translation_weight * self._translation_loss(output["logits"], sample, copies, log)
        if read:
            logits = output["transcript_logits"]
            loss = loss + self.transcript_weight * self._transcript_loss(logits, target, sample, log)
        for name in heads:
            losses = self._head_losses(name, output, sample, copies, log)
            if weight := self._present_weight(name, model):
                labels, _ = sample["nlabels"][name]
                loss = loss + weight * losses.sum() / copies * (sample_size / max(labels, 1))
            if not training and self.task.kinds[name].spells:
                texts = sample["texts"][name], sample["spoken"]
                counts = ctc_error_counts(output["heads"][name], output["frames"], *texts, self.task.labels[name])
                log |= {f"{name}_{count}": number for count, number in counts.items()}
        log |= {"loss": loss.detach(), "sample_size": sample_size}
        return loss, sample_size, check_loss(loss, self.task, sample, log) if training else log

    def _sample_size(self, sample: dict[str, Any], translate: bool) -> int:
        """Return the units of a batch; see :meth:`forward`."""
        counts = [sample["nlabels"][name] for name in self.learning_heads]
        if not translate:
            return sum(labels for labels, _ in counts)
        return int(sample["ntokens"] + sum(alone for _, alone in counts))

    def _translation_loss(self, logits: Tensor, sample: dict[str, Any], copies: int, log: dict[str, Any]) -> Tensor:
        """Return the loss of the decoder: the mean over copies, and R-Drop's divergence (Wu et al. 2021) if asked for.

        The paper adds up the losses of both passes and ``alpha`` times the mean of both divergences; this is half of
        that, so that the loss keeps the scale of a single pass.
        """
        target = sample["target"]
        smoothed, nll = smoothed_cross_entropy(logits, target.repeat(copies, 1), self.label_smoothing, PAD)
        correct = logits[: len(target)].argmax(-1).eq(target) & target.ne(PAD)
        log |= {"translation_loss": smoothed.detach() / copies, "nll_loss": nll.detach() / copies}
        log["correct"] = correct.sum()
        loss = smoothed / copies
        if copies == 2:
            first, second = logits.chunk(2)
            divergence = symmetric_divergence(first, second, target.ne(PAD))
            log["rdrop_loss"] = divergence.detach()
            loss = loss + 0.5 * self.rdrop_alpha * divergence
        return loss

    def _reading(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return transcripts, and as many pairs of more text if there are some, for the decoder to read and to write.

        Returns:
            Labels ``(P, L)`` some of which are changed, their lengths ``(P,)``, and targets ``(P, U)``, padding alone for
            what has no transcript.
        """
        rows = sample["net_input"]["source_rows"]
        labels, lengths = (part[rows] for part in sample["heads"][CTC])
        target = sample["target"].masked_fill((lengths == 0).unsqueeze(1), PAD)
        if self.task.text_pairs is not None:
            more, counts, tokens = (part.to(labels.device) for part in self.task.text_pairs.draw(len(rows)))
            labels, target = below(labels, more, 0), below(target, tokens, PAD)
            lengths = torch.cat([lengths, counts])
        return (*change_labels(labels, lengths, self.transcript_noise), target)

    def _transcript_loss(self, logits: Tensor, target: Tensor, sample: dict[str, Any], log: dict[str, Any]) -> Tensor:
        """Return the loss of the decoder that read, as if it had as many tokens as the batch."""
        smoothed, nll = smoothed_cross_entropy(logits, target, self.label_smoothing, PAD)
        scale = sample["ntokens"] / target.ne(PAD).sum().clamp(min=1)
        log["transcript_loss"] = nll.detach() * scale
        return smoothed * scale

    def _head_losses(
        self, name: str, output: dict[str, Any], sample: dict[str, Any], copies: int, log: dict[str, Any]
    ) -> Tensor:
        """Return a head's loss of every utterance of every copy; 0 without a text, which is not one of silence."""
        kind, frames = self.task.kinds[name], output["frames"]
        targets, lengths = sample["heads"][name]
        targets, lengths = targets.repeat(copies, 1), lengths.repeat(copies)
        missing = lengths == 0
        if kind.loss is None:
            raise ConfigError(f"heads: {name} is of a kind that is not trained")
        losses: Tensor = kind.loss(output["heads"][name], frames, targets, lengths).masked_fill(missing, 0.0)
        log[f"{name}_labels"], _ = sample["nlabels"][name]
        log[f"{name}_loss"] = losses.detach().sum() / copies
        log[f"{name}_empty"] = missing.sum() // copies
        if kind.classifies:
            known = targets[:, 0] if targets.size(1) else lengths
            log[f"{name}_correct"] = ((output["heads"][name].argmax(-1) == known) & ~missing).sum() // copies
        if kind.required_frames is not None:
            log[f"{name}_too_long"] = (kind.required_frames(targets, lengths) > frames).sum() // copies
        return losses

    def _present_weight(self, name: str, model: Any) -> float:
        weight = self.weights[name]
        if name != CTC or not model.training or not self.ctc_weight_warmup_updates:
            return weight
        return weight * min(1.0, (model.num_updates + 1) / self.ctc_weight_warmup_updates)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Combine the logs of all workers; losses are shown in nats per token or label."""

        def total(key: str) -> float:
            return float(sum(float(log.get(key, 0)) for log in logging_outputs))

        sample_size, tokens = total("sample_size"), total("ntokens")
        heads = sorted(
            {key.removesuffix("_labels") for log in logging_outputs for key in log if key.endswith("_labels")}
        )
        metrics.log_scalar("loss", total("loss") / max(sample_size, 1), sample_size, round=4)
        if any("nll_loss" in log for log in logging_outputs):
            metrics.log_scalar("nll_loss", total("nll_loss") / max(tokens, 1), tokens, round=4)
            metrics.log_derived("ppl", lambda meters: math.exp(min(meters["nll_loss"].avg, 50.0)))
            metrics.log_scalar("accuracy", 100.0 * total("correct") / max(tokens, 1), tokens, round=2)
        for name in heads:
            if labels := total(f"{name}_labels"):
                metrics.log_scalar(f"{name}_loss", total(f"{name}_loss") / labels, labels, round=4)
                if any(f"{name}_correct" in log for log in logging_outputs):
                    metrics.log_scalar(f"{name}_accuracy", 100.0 * total(f"{name}_correct") / labels, labels, round=2)
            for count in (f"{name}_too_long", f"{name}_empty"):
                if total(count):
                    metrics.log_scalar_sum(count, total(count))
        for name in ("transcript_loss", "rdrop_loss"):
            if any(name in log for log in logging_outputs):
                metrics.log_scalar(name, total(name) / max(tokens, 1), tokens, round=4)
        if total("nonfinite"):
            metrics.log_scalar_sum("nonfinite_batches", total("nonfinite"))
        reduce_error_rates(logging_outputs, heads)
        reduce_bleu(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logs have the same keys and add up."""
        return True
