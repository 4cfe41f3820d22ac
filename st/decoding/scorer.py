"""Next-token log-probabilities from one model or an ensemble, with their caches.

Legend: N sentences, R rows (hypotheses), S' memory states, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from st.kernels.large_vocabulary import log_normalizer
from st.modules.decoder_cache import DecoderCache
from st.modules.model import Encoded, SpeechTranslator
from st.modules.text_decoder import TextDecoder


class TokenScorer:
    """Feeds tokens to the decoders and scores what may follow, for one search."""

    def start(
        self, models: Sequence[SpeechTranslator], memories: Sequence[Encoded], *, max_length: int, temperature: float
    ) -> None:
        """Begin with one row per sentence, before any token; ``temperature`` divides the logits."""
        self._decoders: list[TextDecoder] = [model.decoder for model in models]
        self._caches: list[DecoderCache] = [
            decoder.start(memory.states, memory.lengths, beam=1, max_length=max_length)
            for decoder, memory in zip(self._decoders, memories, strict=True)
        ]
        self._temperature = temperature

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the next token of every row.

        Args:
            tokens: Shape ``(R,)``.

        Returns:
            Unnormalised scores ``(R, V)`` and what to subtract from each row to get log-probabilities ``(R,)``,
            both fp32. Subtracting only from the few scores that survive saves a pass over the vocabulary.
        """
        outputs = [decoder.step(tokens, cache) for decoder, cache in zip(self._decoders, self._caches, strict=True)]
        logits = [
            output.float() / self._temperature if self._temperature != 1.0 else output.float() for output in outputs
        ]
        if len(logits) == 1:
            return logits[0], log_normalizer(logits[0])
        log_probs = torch.stack([part.log_softmax(dim=-1) for part in logits])
        return log_probs.logsumexp(dim=0), tokens.new_full(tokens.shape, math.log(len(logits)), dtype=torch.float32)

    def reorder(self, rows: Tensor, *, shared: int) -> None:
        """Let row ``i`` continue what was row ``rows[i]``; see :meth:`DecoderCache.reorder`."""
        for cache in self._caches:
            cache.reorder(rows, shared=shared)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those listed; see :meth:`DecoderCache.keep`."""
        for cache in self._caches:
            cache.keep(sentences)
