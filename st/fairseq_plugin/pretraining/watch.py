"""Watches how a pre-training uses its codebooks, and says in words what goes wrong with it."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from st.modules.pretraining.config import PretrainingConfig

logger = logging.getLogger(__name__)

WINDOW = 100
"""Updates that are averaged."""
PATIENCE = 5000
"""Updates after which something should have been learned."""
_FEW_CODES = 2.0
"""Entries of a codebook that are in use when it has collapsed."""
_LEARNED_BITS, _FALLEN_BITS = 0.05, 0.5
"""Bits below chance: of a loss at which anything has been learned, and of one that has fallen."""


class CodebookWatch:
    """Of one training, on every process; one of them speaks."""

    def __init__(self, objective: PretrainingConfig) -> None:
        self._groups, self._entries = objective.latent_groups, objective.num_entries
        self.chance = math.log2(1 + objective.num_negatives)
        """Bits of a model that tells nothing."""
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)
        self._seen = 0
        self._told: set[str] = set()

    def push(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Take the logs of an update, of all processes; warn where they show that something is wrong, once."""
        targets = sum(float(log.get("sample_size", 0)) for log in logs)
        if not targets:
            return
        names = ("contrastive", "code_perplexity", "prob_perplexity")
        sums = [sum(float(log.get(name, 0)) for log in logs) / targets for name in names]
        self._recent.append((sums[0] / math.log(2), sums[1], sums[2]))
        self._seen += 1
        if len(self._recent) == WINDOW:
            self._judge()

    def use(self) -> dict[str, float]:
        """Return the entries in use of all codebooks, by choice and by probability, and how many there are; the mean of late."""
        if not self._recent:
            return {}
        _, code, prob = self._means()
        return {"code_perplexity": round(code, 2), "prob_perplexity": round(prob, 2), "entries": self._entries}

    def _means(self) -> list[float]:
        return [sum(values) / len(self._recent) for values in zip(*self._recent, strict=True)]

    def _judge(self) -> None:
        bits, code, _ = self._means()
        if code <= _FEW_CODES * self._groups and bits < self.chance - _FALLEN_BITS:
            self._tell(
                "collapse",
                f"the codebooks have collapsed: of {self._entries} entries {code:.1f} are in use, and the loss is {bits:.2f} bits "
                "because targets are alike, not because they are told apart; raise --diversity-weight or lower --lr, and go back "
                "to a checkpoint of before",
            )
        elif self._seen >= PATIENCE and bits > self.chance - _LEARNED_BITS:
            self._tell(
                "stuck",
                f"nothing has been learned in {self._seen} updates: the loss is {bits:.2f} bits, chance {self.chance:.2f}; try "
                "another --lr, a longer warm-up, or larger batches",
            )

    def _tell(self, what: str, sentence: str) -> None:
        speaks = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        if what not in self._told and speaks:
            logger.warning(sentence)
        self._told.add(what)
