"""Subword regularisation: a sentence is written in other pieces each time (Kudo 2018, arXiv:1804.10959).

So a decoder of little text learns that different pieces write the same word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from st.errors import ConfigError
from st.text.sentencepiece_model import model_type
from st.text.vocabulary import TextVocabulary

CANDIDATES = 64
"""Best segmentations of which one is drawn; the paper's *l*."""
MOST_LONGER = 4
"""By how many pieces a segmentation may be longer than the best; sizes of batches count on it."""


class SubwordSampler:
    """Draws segmentations of a unigram vocabulary, each by its probability to the power of ``alpha``."""

    def __init__(self, vocabulary: TextVocabulary, alpha: float) -> None:
        """Take the vocabulary and what smooths the choice: 0 draws evenly, and infinity would be the best one always.

        Raises:
            ConfigError: If ``alpha`` is out of range, or the vocabulary has no probabilities of pieces.
        """
        if not (alpha > 0 and math.isfinite(alpha)):
            raise ConfigError(f"--subword-alpha is {alpha:g}; expected a positive number, such as 0.2")
        if (kind := model_type(vocabulary.model_bytes())) != "unigram":
            raise ConfigError(
                f"--subword-alpha needs a SentencePiece model of type unigram, the default of `st prepare`; this one is of type "
                f"{kind}, whose pieces have no probabilities"
            )
        self.vocabulary, self.alpha = vocabulary, alpha

    def encode(self, text: str, chance: Sequence[int]) -> list[int]:
        """Return the ids of a segmentation, without tag and end of sentence; the same for the same ``chance``."""
        found = self.vocabulary.encode_nbest(text, CANDIDATES)
        if not found:
            return []
        shortest = len(found[0][0]) + MOST_LONGER
        fitting = [(ids, score) for ids, score in found if len(ids) <= shortest]
        scores = self.alpha * np.array([score for _, score in fitting])
        shares = np.exp(scores - scores.max())
        drawn = np.random.default_rng(chance).choice(len(fitting), p=shares / shares.sum())
        return fitting[drawn][0]
