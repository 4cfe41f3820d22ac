"""Scores of given targets, equal to those that beam search gives its hypotheses.

Legend: R targets, U tokens, S' memory states, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from st.decoding.beam_search import as_lists
from st.decoding.options import BeamOptions, Hypothesis
from st.errors import DecodingError
from st.modules.model import Encoded, SpeechTranslator
from st.text.vocabulary import EOS, PAD


@torch.inference_mode()
def score_targets(
    model: SpeechTranslator | Sequence[SpeechTranslator],
    memory: Encoded | Sequence[Encoded],
    targets: Sequence[Sequence[int]],
    options: BeamOptions,
) -> list[Hypothesis]:
    """Score targets in one pass of the decoder.

    Args:
        model: In evaluation mode; or several, whose probabilities are averaged token by token.
        memory: Adapted encoder states, one row per target; one of them per model.
        targets: Token ids of each, language tag first, without the end of sentence.
        options: Of these, the temperature and the normalisation by length count.

    Raises:
        DecodingError: If a target is longer than the model has positions for, or its score is not finite.
    """
    if not targets:
        return []
    models, memories = as_lists(model, memory)
    longest = max(map(len, targets))
    positions = min(each.config.decoder.max_positions for each in models)
    if longest + 1 > positions:
        raise DecodingError(f"a target has {longest} tokens; the decoder has positions for {positions - 1}")
    device = memories[0].states.device
    padding = [[PAD] * (longest - len(tokens)) for tokens in targets]
    inputs = torch.tensor([[EOS, *row, *rest] for row, rest in zip(targets, padding, strict=True)]).to(device)
    outputs = torch.tensor([[*row, EOS, *rest] for row, rest in zip(targets, padding, strict=True)]).to(device)
    parts = []
    for each, states in zip(models, memories, strict=True):
        logits = each.decoder(inputs, states.states, states.lengths).float() / options.temperature  # (R, U, V)
        parts.append(logits.gather(2, outputs[:, :, None])[:, :, 0] - logits.logsumexp(dim=2))
    scores = torch.stack(parts).logsumexp(dim=0) - math.log(len(parts)) if len(parts) > 1 else parts[0]
    found = []
    for number, (tokens, row) in enumerate(zip(targets, scores.tolist(), strict=True)):
        steps = tuple(row[: len(tokens) + 1])
        if not all(map(math.isfinite, steps)):
            raise DecodingError(
                f"target {number} of the batch: its score is not finite; the model's weights or the input hold NaN or infinity"
            )
        found.append(Hypothesis(tuple(tokens), options.normalized(sum(steps), len(steps)), steps))
    return found
