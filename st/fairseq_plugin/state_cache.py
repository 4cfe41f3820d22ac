"""Encoder states of a frozen encoder, computed once and kept in memory.

Legend: N utterances, S frames, M model dim.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from st.modules.model import Encoded


class EncoderStateCache:
    """Maps (subset, index of utterance) to its states, stored as bfloat16 on the CPU."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, int], Tensor] = {}
        self._dtype = torch.float32
        """Type of the states that the encoder gave last."""

    def __len__(self) -> int:
        return len(self._states)

    def fetch(self, utterances: tuple[str, list[int]], encode: Callable[[], Encoded], device: torch.device) -> Encoded:
        """Return the states of a batch, calling ``encode`` only if some are not known yet.

        Args:
            utterances: Name of the subset and the N indices of the batch.
            encode: Computes the states ``(N, S, M)`` of exactly this batch.
            device: Where the states go.
        """
        subset, indices = utterances
        keys = [(subset, index) for index in indices]
        if any(key not in self._states for key in keys):
            encoded = encode()
            self._dtype = encoded.states.dtype
            for key, states, length in zip(keys, encoded.states, encoded.lengths.tolist(), strict=True):
                self._states[key] = states[:length].detach().to("cpu", torch.bfloat16, copy=True)
            # What a later epoch reads from memory is rounded; hand out the same now.
            return Encoded(encoded.states.to(torch.bfloat16).to(self._dtype), encoded.lengths)
        rows = [self._states[key] for key in keys]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return Encoded(padded.to(device, self._dtype), lengths)
