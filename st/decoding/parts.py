"""How many sentences are decoded at a time, so that a search of any beam and vocabulary fits into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from st.modules.config import ModelConfig

MAX_NUMBERS = 1 << 29
"""Numbers that the searches of one part hold together, about: 2 GB of float32."""
_COPIES = 8
"""How often scores over the vocabulary exist at once: as they come, in float32, sorted, masked."""
_TOKENS = 64
"""Tokens of a hypothesis that the estimate counts with; few translations of a sentence have more."""


def search_numbers(models: Iterable[ModelConfig], beam: int) -> int:
    """Return about how many numbers a search holds for one sentence: scores, and keys and values of the tokens so far."""
    shapes = [model.decoder for model in models]
    cached = sum(2 * shape.num_layers * shape.dim * _TOKENS for shape in shapes)
    return beam * (cached + sum(_COPIES * shape.vocab_size for shape in shapes))


def score_numbers(models: Iterable[ModelConfig], tokens: int) -> int:
    """Return about how many numbers it takes to score one target of so many tokens."""
    return sum(_COPIES * model.decoder.vocab_size * tokens for model in models)


def parts(count: int, numbers: int) -> Iterator[slice]:
    """Divide ``count`` sentences, each of which takes so many numbers, into parts of at most :data:`MAX_NUMBERS`."""
    size = max(1, MAX_NUMBERS // numbers)
    for start in range(0, count, size):
        yield slice(start, start + size)
