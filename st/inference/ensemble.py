"""What several models that decode together make of a batch: the means of their probabilities.

Legend: N utterances, S frames, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from st.errors import ConfigError
from st.modules.model import Encoded, SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary


class Member(Protocol):
    """What is needed of a :class:`st.inference.translator.Translator`."""

    model: SpeechTranslator
    ctc: CtcVocabulary | None


def require_one_dictionary(own: Sequence[str], its: Sequence[str]) -> None:
    """Raise ConfigError unless the symbols of two models are the same."""
    if own != its:
        raise ConfigError(
            f"models of an ensemble must have the same dictionary; these have {len(own)} and {len(its)} symbols"
            + ("" if len(own) != len(its) else " which differ")
        )


def require_same_letters(members: Sequence[Member]) -> None:
    """Raise ConfigError unless all models have a part in the transcript."""
    for number, member in enumerate(members[1:], start=2):
        if not _hear_alike(members[0], member):
            raise ConfigError(
                "models that transcribe together must have the same letters in their CTC heads, and frames of the same "
                f"length; model {number} of the ensemble has others"
            )


def memories(members: Sequence[Member], encoded: Sequence[Encoded]) -> list[Encoded]:
    """Return what the decoder of each model attends to."""
    return [member.model.adapt(states) for member, states in zip(members, encoded, strict=True)]


def ctc_logits(members: Sequence[Member], encoded: Sequence[Encoded]) -> Tensor:
    """Return the mean log-probabilities ``(N, S, C)`` of those CTC heads that have the first one's labels and frames.

    Of one alone these are its logits.
    """
    first = members[0]
    logits = [
        member.model.ctc_logits(states)
        for member, states in zip(members, encoded, strict=True)
        if member is first or _hear_alike(first, member)
    ]
    if len(logits) == 1:
        return logits[0]
    return torch.stack([each.float().log_softmax(dim=-1) for each in logits]).mean(dim=0)


def _hear_alike(first: Member, second: Member) -> bool:
    encoders = first.model.encoder, second.model.encoder
    if first.ctc is None or second.ctc is None or first.ctc.symbols != second.ctc.symbols:
        return False
    return len({(encoder.hop, encoder.receptive_field) for encoder in encoders}) == 1
