"""fairseq criterion ``speech_pretraining``: contrastive and diversity loss, and a penalty on large features."""

import math
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from st.errors import ConfigError
from st.fairseq_plugin.nonfinite import check_loss
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.modules.pretraining.contrastive import Objective
from st.options import option


@dataclass
class SpeechPretrainingCriterionConfig(FairseqDataclass):
    """Weights of what is added to the contrastive loss, for each masked frame."""

    diversity_weight: float = option(0.1, "weight of the share of the codebooks that is not used")
    features_penalty: float = option(0.0, "weight of the mean square of the features; 10 in wav2vec 2.0 base")


@register_criterion("speech_pretraining", dataclass=SpeechPretrainingCriterionConfig)
class SpeechPretrainingCriterion(FairseqCriterion):
    """The loss of wav2vec 2.0, summed over masked frames."""

    def __init__(self, cfg: Any, task: Any) -> None:
        super().__init__(task)
        self.diversity_weight: float = cfg.diversity_weight
        self.features_penalty: float = cfg.features_penalty

    @classmethod
    @clear_errors
    def build_criterion(cls, cfg: Any, task: Any) -> "SpeechPretrainingCriterion":
        """Build from options; called by fairseq.

        Raises:
            ConfigError: If a weight is below 0.
        """
        for name in ("diversity_weight", "features_penalty"):
            if not 0 <= getattr(cfg, name) < math.inf:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}; expected 0 or more")
        return cls(cfg, task)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            Loss in nats summed over masked frames, their number, and sums to log.
        """
        found: Objective = model(**sample["net_input"])
        targets = found.num_targets
        contrastive = found.contrastive_loss()
        loss = contrastive + self.diversity_weight * targets * found.diversity
        if self.features_penalty:
            loss = loss + self.features_penalty * targets * found.penalty
        log = {
            "loss": loss.detach(),
            "contrastive": contrastive.detach(),
            "diversity": targets * found.diversity.detach(),
            "penalty": targets * found.penalty.detach(),
            "prob_perplexity": targets * found.prob_perplexity,
            "code_perplexity": targets * found.code_perplexity,
            "temperature": targets * found.temperature,
            "chance": targets * math.log2(found.logits.size(1)),
            "correct": found.correct(),
            "frames": found.num_frames,
            "left_out": found.left_out,
            "silent": sample["silent"],
            "sample_size": targets,
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
        }
        return loss, targets, check_loss(loss, self.task, sample, log) if model.training else log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Combine the logs of all workers; losses are shown in bits per masked frame."""

        def total(key: str) -> float:
            return float(sum(float(log.get(key, 0)) for log in logging_outputs))

        targets = total("sample_size")
        for name, key in (("loss", "loss"), ("contrastive_loss", "contrastive")):
            metrics.log_scalar(name, total(key) / max(targets, 1) / math.log(2), targets, round=4)
        for key, digits in (("diversity", 4), ("penalty", 4), ("prob_perplexity", 2), ("code_perplexity", 2)):
            metrics.log_scalar(key, total(key) / max(targets, 1), targets, round=digits)
        for key in ("temperature", "chance"):
            metrics.log_scalar(key, total(key) / max(targets, 1), targets, round=4)
        metrics.log_scalar("accuracy", 100.0 * total("correct") / max(targets, 1), targets, round=2)
        metrics.log_scalar("mask_percent", 100.0 * targets / max(total("frames"), 1), total("frames"), round=2)
        for key in ("left_out", "silent"):
            if total(key):
                metrics.log_scalar_sum(key, total(key))
        if total("nonfinite"):
            metrics.log_scalar_sum("nonfinite_batches", total("nonfinite"))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logs have the same keys and add up."""
        return True
