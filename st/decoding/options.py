"""What a search may be told, and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from st.options import check_fields

MOST_PENALTY = 60.0
"""Length penalties beyond this, or below its negative, count as it: powers of a length stay within a float."""

LEAST_TEMPERATURE = 0.0001
"""Logits divided by less may be infinite."""


@dataclass(kw_only=True, slots=True, frozen=True)
class BeamOptions:
    """How to search; names and defaults are those of ``fairseq-generate`` where it has them."""

    beam: int = 5
    """Hypotheses kept per sentence; 1 is greedy."""
    nbest: int = 1
    """Hypotheses returned per sentence, best first; at most ``beam``."""
    length_penalty: float = 1.0
    """Exponent of the length that divides a score; below 1 favours short, above 1 long output."""
    normalize_scores: bool = True
    """Whether scores are divided by length at all."""
    max_len_a: float = 0.0
    """Output has at most ``a * x + b`` tokens (language tag included, end of sentence not), ``x`` being the
    sentence's own memory states (0.16 s each with XLS-R and three adaptor layers)."""
    max_len_b: int = 200
    min_len: int = 1
    """Fewest tokens before the end of sentence, language tag included."""
    no_repeat_ngram: int = 0
    """No n-gram of this size occurs twice in a hypothesis; 0 allows repeats."""
    unk_penalty: float = 0.0
    """Subtracted from the log-probability of the unknown token."""
    temperature: float = 1.0
    """Divides the logits; above 1 flattens the distribution. At :data:`LEAST_TEMPERATURE` only the best is left."""
    joint_ctc_weight: float = 0.0
    """Part of the CTC head in the scores, for a decoder that writes what is said; see :mod:`st.decoding.joint`.
    :func:`beam_search` leaves it to the scorer that it is given."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range; the message names it.
        """
        check_fields(
            self,
            ("beam", self.beam >= 1, "at least 1"),
            ("nbest", 1 <= self.nbest <= self.beam, f"from 1 to the beam ({self.beam})"),
            ("length_penalty", math.isfinite(self.length_penalty), "a finite number"),
            ("max_len_a", 0 <= self.max_len_a < math.inf, "at least 0, and finite"),
            ("max_len_b", 0 <= self.max_len_b < math.inf, "at least 0, and finite"),
            ("min_len", self.min_len >= 0, "at least 0"),
            ("no_repeat_ngram", self.no_repeat_ngram >= 0, "at least 0"),
            ("unk_penalty", math.isfinite(self.unk_penalty), "a finite number"),
            (
                "temperature",
                LEAST_TEMPERATURE <= self.temperature < math.inf,
                f"at least {LEAST_TEMPERATURE}, and finite",
            ),
            ("joint_ctc_weight", 0 <= self.joint_ctc_weight <= 1, "from 0 to 1"),
        )

    def normalized(self, total: float, length: int) -> float:
        """Return the score of an output.

        Args:
            total: Sum of the log-probabilities of its tokens.
            length: How many they are, end of sentence included.
        """
        if not self.normalize_scores:
            return total
        return float(total / length ** max(-MOST_PENALTY, min(self.length_penalty, MOST_PENALTY)))


@dataclass(slots=True, frozen=True)
class Hypothesis:
    """One finished output."""

    tokens: tuple[int, ...]
    """Token ids from the first target token (the language tag) on, without the end of sentence."""
    score: float
    """Sum of ``token_scores``, divided by a power of their number (see :class:`BeamOptions`)."""
    token_scores: tuple[float, ...]
    """Log-probability of every token and, last, of the end of sentence."""
    truncated: bool = False
    """Whether the length limit ended it where the model would have gone on."""
