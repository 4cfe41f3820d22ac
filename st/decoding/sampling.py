"""Sampling instead of searching: outputs drawn at random, as fairseq's ``--sampling``.

Legend: N sentences, W rows per sentence, K tokens drawn from, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from st.decoding.beam_search import Search, as_lists
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.scorer import TokenScorer
from st.modules.model import Encoded, SpeechTranslator
from st.options import check_fields


@dataclass(kw_only=True, slots=True, frozen=True)
class SamplingOptions(BeamOptions):
    """How to draw; ``beam`` is the number of outputs drawn per sentence, all returned if ``nbest`` equals it."""

    top_k: int = 0
    """Draw from the k most probable tokens only; 0 for all."""
    top_p: float = 0.0
    """Draw from the fewest tokens that together have this probability (Holtzman et al. 2019); 0 for all."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        BeamOptions.__post_init__(self)
        check_fields(
            self,
            ("top_k", self.top_k >= 0, "at least 0"),
            ("top_p", 0 <= self.top_p <= 1, "from 0 to 1"),
            ("seed", -(2**63) <= self.seed < 2**64, "from -2^63 to 2^64 - 1"),  # as torch takes them
        )


class _Sampling(Search):
    """A search whose candidates are one random token per row."""

    options: SamplingOptions

    def __init__(self, keys: Sequence[int], *args: Any) -> None:
        super().__init__(*args)
        # Each sentence has random numbers of its own, whatever stands beside it in the batch.
        seeds = zip(keys, (row[0] for row in self.beams.prefix), strict=True)
        self.generators = [np.random.default_rng((self.options.seed % 2**64, *seed)) for seed in seeds]

    def candidates(self, logits: Tensor, log_norm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one token for every row, or ``beam`` tokens while a sentence has one row only."""
        count, width = self.beams.tokens.shape[:2]
        log_probs = logits - log_norm[:, None]
        # Of what is still allowed, which at the length limit may be a token of no probability at all.
        allowed = logits.softmax(dim=1).nan_to_num(0.0)
        probs, ids = likely_tokens(allowed, top_k=self.options.top_k, top_p=self.options.top_p)
        draws = self.beam if width == 1 else 1
        random = [self.generators[sentence].random((width, draws)) for sentence in self.beams.sentences]
        tokens = ids.gather(1, places(probs, torch.from_numpy(np.concatenate(random)).to(probs.device)))
        scores = log_probs.gather(1, tokens).view(count, -1)
        if self.beams.scores.size(2):
            scores = scores + self.beams.scores[:, :, -1].expand(scores.shape)
        origins = torch.arange(width, device=logits.device).repeat_interleave(draws).expand(count, -1)
        return scores, tokens.view(count, -1), origins


def places(probs: Tensor, random: Tensor) -> Tensor:
    """Return the places ``(R, D)`` that random numbers in [0, 1) ``(R, D)`` fall on, by probabilities ``(R, K)``."""
    sums = probs.double().cumsum(dim=1)
    # A row without any probability is dead; whatever is drawn there has a score of minus infinity.
    return torch.searchsorted(sums, random * sums[:, -1:], right=True).clamp(max=probs.size(1) - 1)


def likely_tokens(probs: Tensor, *, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Return what may be drawn.

    Args:
        probs: Probabilities ``(R, V)``.
        top_k: See :class:`SamplingOptions`.
        top_p: See :class:`SamplingOptions`.

    Returns:
        Probabilities ``(R, K)``, zero where a token may not be drawn, and token ids ``(R, K)``.
    """
    if not top_k and not top_p:
        return probs, torch.arange(probs.size(1), device=probs.device).expand_as(probs)
    size = min(top_k, probs.size(1)) if top_k else probs.size(1)
    best, ids = probs.topk(size, dim=1)
    if top_p > 0:
        # The token that passes the threshold belongs to the set, hence the sum before each token.
        beyond = best.cumsum(dim=1) - best >= top_p
        beyond[:, 0] = False  # However small the threshold is, even 0 as float32.
        best = best.masked_fill(beyond, 0.0)
    return best, ids


@torch.inference_mode()
def sample(
    model: SpeechTranslator | Sequence[SpeechTranslator],
    memory: Encoded | Sequence[Encoded],
    forced: Tensor,
    options: SamplingOptions,
    keys: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """Draw ``options.beam`` outputs per sentence; arguments, result and errors as :func:`beam_search`.

    The draws of a sentence follow from the seed, its number among ``keys`` (0 or more; its place in the batch if there
    are none) and its first forced token, not from the other sentences.
    """
    models, memories = as_lists(model, memory)
    if forced.size(0) == 0:
        return []
    keys = range(forced.size(0)) if keys is None else keys
    return _Sampling(keys, models, memories, forced, options, TokenScorer()).run()
