"""Decode or score any number of targets, as many at a time as fit into memory with any beam and vocabulary.

Legend: N recordings, R targets, each of one of the recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import Tensor

from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.rescoring import score_targets
from st.decoding.sampling import SamplingOptions, sample
from st.decoding.scorer import TokenScorer
from st.modules.config import ModelConfig
from st.modules.model import Encoded, SpeechTranslator

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


def decode_rows(
    models: Sequence[SpeechTranslator],
    memories: Sequence[Encoded],
    rows: Tensor,
    forced: Tensor,
    options: BeamOptions,
    keys: Sequence[int] | None = None,
    scorer: Callable[[slice], TokenScorer] | None = None,
) -> list[list[Hypothesis]]:
    """Search, or draw if the options are :class:`SamplingOptions`; errors as :func:`beam_search`.

    Args:
        models: As for :func:`beam_search`.
        memories: Of the N recordings, one per model.
        rows: The recording of each target, ``(R,)``.
        forced: As for :func:`beam_search`, of each target.
        options: How to decode.
        keys: Of each recording the number that its draws follow from, ``(N,)``; see :func:`sample`. Its place if None.
        scorer: Makes what :func:`beam_search` takes as ``scorer``, for the targets of a part.

    Returns:
        Hypotheses of each target.
    """
    found: list[list[Hypothesis]] = []
    for part in parts(len(rows), search_numbers([model.config for model in models], options.beam)):
        chosen = [memory.select(rows[part]) for memory in memories]
        if isinstance(options, SamplingOptions):
            own = [row if keys is None else keys[row] for row in rows[part].tolist()]
            found += sample(models, chosen, forced[part], options, own)
        else:
            found += beam_search(models, chosen, forced[part], options, scorer and scorer(part))
    return found


def score_rows(
    models: Sequence[SpeechTranslator],
    memories: Sequence[Encoded],
    rows: Tensor,
    targets: Sequence[Sequence[int]],
    options: BeamOptions,
) -> list[Hypothesis]:
    """Score given targets; arguments as for :func:`decode_rows` and :func:`score_targets`, errors as the latter."""
    found: list[Hypothesis] = []
    width = max(map(len, targets), default=0) + 1
    for part in parts(len(targets), score_numbers([model.config for model in models], width)):
        chosen = [memory.select(rows[part]) for memory in memories]
        found += score_targets(models, chosen, targets[part], options)
    return found
