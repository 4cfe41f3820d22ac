"""Scores of given targets, equal to those that beam search gives its hypotheses.

Legend: R targets, U tokens, S' memory states, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from st.decoding.options import BeamOptions, Hypothesis
from st.errors import DecodingError
from st.modules.model import Encoded, SpeechTranslator


@torch.inference_mode()
def score_targets(
    model: SpeechTranslator,
    memory: Encoded,
    targets: Sequence[Sequence[int]],
    options: BeamOptions,
    *,
    eos: int = 2,
    pad: int = 1,
) -> list[Hypothesis]:
    """Score targets in one pass of the decoder.

    Args:
        model: In evaluation mode.
        memory: Adapted encoder states, one row per target.
        targets: Token ids of each, language tag first, without the end of sentence.
        options: Of these, the temperature and the normalisation by length count.
        eos: End of sentence.
        pad: Padding.

    Raises:
        DecodingError: If a target is longer than the model has positions for.
    """
    if not targets:
        return []
    longest = max(map(len, targets))
    if longest + 1 > model.config.decoder.max_positions:
        raise DecodingError(
            f"a target has {longest} tokens; the decoder has positions for {model.config.decoder.max_positions - 1}"
        )
    width = longest + 1
    inputs = torch.tensor([[eos, *tokens, *[pad] * (longest - len(tokens))] for tokens in targets])
    outputs = torch.tensor([[*tokens, eos, *[pad] * (width - 1 - len(tokens))] for tokens in targets])
    inputs, outputs = inputs.to(memory.states.device), outputs.to(memory.states.device)
    logits = model.decoder(inputs, memory.states, memory.lengths).float() / options.temperature  # (R, U, V)
    scores = logits.gather(2, outputs[:, :, None])[:, :, 0] - logits.logsumexp(dim=2)
    found = []
    for tokens, row in zip(targets, scores.tolist(), strict=True):
        steps = tuple(row[: len(tokens) + 1])
        total = sum(steps)
        if options.normalize_scores:
            total /= len(steps) ** options.length_penalty
        found.append(Hypothesis(tuple(tokens), total, steps))
    return found
